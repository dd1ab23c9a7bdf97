"use strict";
// Read before anything is drawn, so that the page does not flash in the other theme.
(() => {
  const root = document.documentElement, kept = "probe-theme";
  const stored = () => { try { return localStorage.getItem(kept) || ""; } catch { return ""; } };
  const use = (theme) => { if (theme) root.dataset.theme = theme; else delete root.dataset.theme; };
  use(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const select = document.getElementById("theme");
    select.value = stored();
    select.closest("label").hidden = false;
    select.addEventListener("change", () => {
      use(select.value);
      try { localStorage.setItem(kept, select.value); } catch { /* the choice lasts as long as the page */ }
    });
    for (const one of document.querySelectorAll("[data-script]")) one.hidden = false;
  });
})();

// Times stand in the page as UTC; here they become those of the reader, and the title keeps the UTC.
function localTimes(inside) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  for (const one of inside.querySelectorAll("time")) {
    const when = new Date(one.dateTime);
    if (!Number.isNaN(when.getTime())) one.textContent = format.format(when);
  }
}
document.addEventListener("DOMContentLoaded", () => localTimes(document));
