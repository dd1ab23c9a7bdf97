"use strict";
/* Films: a slider, a choice of pictures, and a table of cells that show one tile of a sheet each. */
document.documentElement.className = "live";

function begin(film) {
  const { stops, cells, reels } = JSON.parse(film.querySelector("script").textContent);
  const [slider, output] = ["input[type=range]", "output"].map((what) => film.querySelector(what));
  const reel = film.querySelector("select.reel"), views = [...film.querySelectorAll("[type=checkbox]")];
  const along = (index, count) => (count > 1 ? (100 * index) / (count - 1) : 0);

  function tile(element, column, row, said) {
    element.style.backgroundPosition = `${along(column, stops.length)}% ${along(row, 2 * cells.length)}%`;
    element.setAttribute("aria-label", said);
  }

  function show() {
    const at = slider.valueAsNumber, { said } = reels[reel.value];
    output.textContent = stops[at];
    slider.setAttribute("aria-valuetext", stops[at]);
    film.querySelectorAll("[data-cell]").forEach((cell) => {
      const place = Number(cell.dataset.cell), name = `${cells[place].join(", ")}, ${stops[at]}`;
      const [original, now, difference] = cell.querySelectorAll(".thumbnail");
      tile(original, 0, place, `${cells[place].join(", ")}, ${stops[0]}`);
      tile(now, at, place, name);
      tile(difference, at, cells.length + place, `${name}: difference from the original`);
      views.forEach((view) => { cell.querySelector(`.${view.name}`).hidden = !view.checked; });
      cell.querySelector("small").textContent = said[place][at];
    });
  }

  function load() {
    film.style.setProperty("--sheet", `url("${reels[reel.value].sheet}")`);
    film.style.setProperty("--size", `${100 * stops.length}% ${200 * cells.length}%`);
    show();
  }

  [slider, ...views].forEach((control) => control.addEventListener("input", show));
  reel.addEventListener("input", load);
  load();
}

document.querySelectorAll(".film").forEach(begin);

/* What is folded cannot be unfolded on paper. */
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
