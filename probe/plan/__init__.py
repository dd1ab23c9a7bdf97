"""What a piece of work will cost, before it is begun: FLOPs, bytes, memory, files and time, stage by stage."""
