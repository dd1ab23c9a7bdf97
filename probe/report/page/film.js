"use strict";
/* Films: a slider, a choice of pictures, and a table of cells that show one tile of a sheet each. */
document.documentElement.className = "live";

function begin(film) {
  const { stops, cells, reels } = JSON.parse(film.querySelector("script").textContent);
  const [slider, output] = ["input[type=range]", "output"].map((what) => film.querySelector(what));
  const [reel, view] = ["select.reel", "select.view"].map((what) => film.querySelector(what));
  const along = (index, count) => (count > 1 ? (100 * index) / (count - 1) : 0);

  function tile(element, row, said) {
    element.style.backgroundPosition = `${along(slider.valueAsNumber, stops.length)}% ${along(row, 2 * cells.length)}%`;
    element.setAttribute("aria-label", said);
  }

  function show() {
    const at = slider.valueAsNumber, { said } = reels[reel.value];
    output.textContent = stops[at];
    slider.setAttribute("aria-valuetext", stops[at]);
    film.querySelectorAll("[data-cell]").forEach((cell) => {
      const place = Number(cell.dataset.cell), name = `${cells[place].join(", ")}, ${stops[at]}`;
      const [now, difference] = cell.querySelectorAll(".thumbnail");
      tile(now, place, name);
      tile(difference, cells.length + place, `${name}: difference from the original`);
      now.hidden = view.value === "difference";
      difference.hidden = view.value === "now";
      cell.querySelector("small").textContent = said[place][at];
    });
  }

  function load() {
    film.style.setProperty("--sheet", `url("${reels[reel.value].sheet}")`);
    film.style.setProperty("--size", `${100 * stops.length}% ${200 * cells.length}%`);
    show();
  }

  [slider, view].forEach((control) => control.addEventListener("input", show));
  reel.addEventListener("input", load);
  load();
}

document.querySelectorAll(".film").forEach(begin);

/* What is folded cannot be unfolded on paper. */
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
