"use strict";
// A page that follows its runs. What changes has [data-live] and an id. At an event the page is fetched again, and the
// content of those elements is taken over: the server alone knows how a run is shown. Nothing else is touched, so ticks,
// focus, the log and the report stay.
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const PAUSE = 1000; // milliseconds between two fetches
  const said = document.getElementById("said");
  const parts = (inside) => inside.querySelectorAll("[data-live]");
  const known = new Map(); // what the server sent, before times became local
  for (const one of parts(document)) known.set(one.id, one.innerHTML);

  function take(fetched) {
    document.title = fetched.title;
    const rows = document.querySelector("[data-rows]"), newer = fetched.querySelector("[data-rows]");
    if (!rows !== !newer) return location.reload(); // the first run, or no longer one that fits the filter
    for (const one of parts(fetched)) {
      const old = document.getElementById(one.id);
      if (!old || known.get(one.id) === one.innerHTML) continue;
      known.set(one.id, one.innerHTML);
      if (one.dataset.say && one.dataset.say !== old.dataset.say) said.textContent = old.dataset.say = one.dataset.say;
      const focused = old.contains(document.activeElement) && document.activeElement.id;
      old.replaceChildren(...one.cloneNode(true).childNodes);
      localTimes(old);
      if (focused) document.getElementById(focused)?.focus();
    }
    if (rows) takeRows(rows, newer);
  }

  function takeRows(rows, newer) {
    const ids = (body) => [...body.children].map((row) => row.id);
    if (String(ids(rows)) === String(ids(newer))) return;
    const focused = document.activeElement?.id;
    const made = [...newer.children].map((row) => {
      const old = document.getElementById(row.id);
      if (old) return old;
      for (const one of parts(row)) known.set(one.id, one.innerHTML);
      localTimes(row);
      return row;
    });
    rows.replaceChildren(...made);
    if (focused) document.getElementById(focused)?.focus();
  }

  let waiting = false, ended = "ended" in live.dataset;
  async function refresh() {
    if (waiting) return;
    waiting = true;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    waiting = false; // events from here on ask for another fetch
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) location.reload(); // to the login
      if (answer.ok) take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* the server is away: EventSource goes on asking for it, and an event follows */ }
  }

  // A browser keeps six connections to a server: a tab that nobody sees gives back its own.
  let events = null, log = null;
  function listen() {
    if (document.hidden) {
      events?.close();
      log?.abort();
      events = log = null;
      return;
    }
    if (!events && !ended) {
      events = new EventSource(live.dataset.events);
      events.addEventListener("run", (event) => {
        const run = JSON.parse(event.data);
        if (pre && ["done", "failed", "cancelled", "lost"].includes(run.state)) {
          ended = true; // the stream of a run ends there, and EventSource would begin it anew
          events.close();
        }
        refresh();
      });
    }
    if (pre && !log) {
      log = new AbortController();
      follow(log.signal);
    }
  }

  // The log: its last lines, and then what is added, as text.
  const pre = document.getElementById("log"), scrolls = document.getElementById("follow"), MOST = 400_000;
  async function follow(signal) {
    try {
      const answer = await fetch(`${pre.dataset.log}?tail=500${ended ? "" : "&follow=1"}`, { signal });
      if (!answer.ok) return;
      pre.textContent = "";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        pre.append(part.value);
        if (pre.textContent.length > MOST) pre.textContent = pre.textContent.slice(-MOST / 2);
        if (scrolls.checked) pre.scrollTop = pre.scrollHeight;
      }
    } catch { /* the reader left, or the server did */ }
  }
  document.addEventListener("visibilitychange", () => { listen(); if (!document.hidden && !ended) refresh(); });
  listen();
})();
