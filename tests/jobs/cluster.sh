#!/usr/bin/env bash
# A real Slurm cluster of two nodes on this machine, for the tests: cluster.sh start|stop DIR
#
# No systemd, no cgroups, no accounting. Each node has its own network namespace, hostname and loopback, so that whatever
# relies on localhost fails. Needs root and Debian's slurm-wlm, munge and iproute2. Clients need SLURM_CONF=DIR/slurm.conf.
# A job that is put back into the queue begins again when its credential has expired: cred_expire, by default 120 s.
set -eu
DIR=$2
PATH=$PATH:/usr/sbin:/sbin
# Its own names, ports and addresses: a cluster that was killed before it could be stopped is in nobody's way.
ID=$(($(cksum <<<"$DIR" | cut -d ' ' -f 1) % 250))
PORT=$((16000 + 4 * ID))
NET=10.79.$ID
SPACE=probe$ID
NODES=(node1 node2)
export SLURM_CONF=$DIR/slurm.conf

configure() {
  mkdir -p "$DIR"/{state,log,munge}
  chmod 755 "$DIR" "$DIR/munge"
  head -c 128 /dev/urandom >"$DIR/munge/key"
  chmod 400 "$DIR/munge/key"
  cat >"$SLURM_CONF" <<CONF
ClusterName=probe
SlurmctldHost=$(hostname -s)($NET.254)
SlurmctldPort=$PORT
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket,cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool-%n
SlurmctldPidFile=$DIR/slurmctld.pid
SlurmdPidFile=$DIR/slurmd-%n.pid
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd-%n.log
MailProg=/bin/true
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=1
KillWait=10
MinJobAge=900
GresTypes=gpu
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  echo CgroupPlugin=cgroup/v1 >"$DIR/cgroup.conf" # without it slurmd wants a mounted /sys/fs/cgroup
  cp /etc/hosts "$DIR/hosts"
  : >"$DIR/gres.conf"
  for i in "${!NODES[@]}"; do
    local node=${NODES[$i]} address=$NET.$((i + 1))
    echo "NodeName=$node NodeHostname=$node NodeAddr=$address Port=$((PORT + i + 1)) CPUs=4 RealMemory=8000 Gres=gpu:4" >>"$SLURM_CONF"
    echo "NodeName=$node Name=gpu File=/dev/tty[0-3]" >>"$DIR/gres.conf" # any device file will do for scheduling
    echo "$address $node" >>"$DIR/hosts"
  done
}

connect() {
  ip link add "$SPACE" type bridge
  ip addr add "$NET.254/24" dev "$SPACE"
  ip link set "$SPACE" up
  for i in "${!NODES[@]}"; do
    local node=${NODES[$i]}
    ip netns add "$SPACE-$node"
    ip link add "$SPACE-v$i" type veth peer name eth0 netns "$SPACE-$node"
    ip link set "$SPACE-v$i" master "$SPACE" up
    ip -n "$SPACE-$node" link set lo up
    ip -n "$SPACE-$node" addr add "$NET.$((i + 1))/24" dev eth0
    ip -n "$SPACE-$node" link set eth0 up
  done
}

start() {
  configure
  connect
  munged --key-file="$DIR/munge/key" --socket="$DIR/munge/socket" --pid-file="$DIR/munged.pid" \
    --log-file="$DIR/munge/log" --seed-file="$DIR/munge/seed"
  slurmctld
  for node in "${NODES[@]}"; do
    # shellcheck disable=SC2016 # the inner shell expands
    ip netns exec "$SPACE-$node" unshare --uts --mount sh -c \
      'hostname "$1"; mount --bind "$2" /etc/hosts; mount --bind /dev/null /etc/resolv.conf; exec slurmd -N "$1"' \
      - "$node" "$DIR/hosts"
  done
  for _ in $(seq 100); do
    [ "$(sinfo -h -N -o %T | grep -c idle)" = "${#NODES[@]}" ] && return
    sleep 0.1
  done
  sinfo -Nel
  tail -n 20 "$DIR"/log/*.log
  return 1
}

stop() {
  scancel -u root 2>/dev/null || true
  for _ in $(seq 100); do
    [ -z "$(squeue -h 2>/dev/null)" ] && break
    sleep 0.1
  done
  for name in slurmd-node1 slurmd-node2 slurmctld munged; do
    if [ -s "$DIR/$name.pid" ]; then kill "$(cat "$DIR/$name.pid")" 2>/dev/null || true; fi
  done
  for i in "${!NODES[@]}"; do
    ip link del "$SPACE-v$i" 2>/dev/null || true
    ip netns del "$SPACE-${NODES[$i]}" 2>/dev/null || true
  done
  ip link del "$SPACE" 2>/dev/null || true
}

"$1"
