"use strict";
/* Tables that a click on a head sorts: by the first number of the cells, or by their text in the first column and where
   one of them is no number. Cells without a value ("-") stay last; equal ones keep their order. */
const none = (text) => text === "" || text === "-";

function compare(words) {
  return words ? (a, b) => a.localeCompare(b, undefined, { numeric: true }) : (a, b) => parseFloat(a) - parseFloat(b);
}

function sort(table, place, sign) {
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.cells[place].textContent.trim() }));
  const known = rows.filter(({ text }) => !none(text)), rest = rows.filter(({ text }) => none(text));
  const order = compare(place === 0 || known.some(({ text }) => Number.isNaN(parseFloat(text))));
  known.sort((a, b) => sign * order(a.text, b.text));
  table.tBodies[0].append(...[...known, ...rest].map(({ row }) => row));
}

document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sort(table, place, down ? -1 : 1);
    });
  });
});
