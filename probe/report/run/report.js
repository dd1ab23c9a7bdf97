"use strict";
/* report.html: tabs, curves, slider and gallery. Text enters the page as text, never as markup. */
const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector) => [...document.querySelectorAll(selector)];
const one = (id) => document.getElementById(id);
document.documentElement.className = "live";

/* Tabs: arrow keys move between them (WAI-ARIA's pattern); a curve is drawn when its panel is first seen. */
const tabs = all("[role=tab]"), panels = all("[role=tabpanel]");
function choose(place) {
  tabs.forEach((tab, i) => {
    tab.setAttribute("aria-selected", String(i === place));
    tab.tabIndex = i === place ? 0 : -1;
    panels[i].hidden = i !== place;
  });
  draw();
}
tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => choose(place));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = (to + tabs.length) % tabs.length;
    choose(next);
    tabs[next].focus();
  });
});

/* Curves. */
const chosen = () => one("metric")?.value;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const number = (value) => (value === null ? "-" : Number(value.toPrecision(3)).toString());
const faint = (hex) => hex + "2e";
const dark = matchMedia("(prefers-color-scheme: dark)");

function traces(dataset, metric, methods) {
  return methods.filter((method) => method in dataset.curves).flatMap((method) => {
    const curve = dataset.curves[method], points = curve[metric], line = data.methods[method].colour;
    const bases = curve.bases ? curve.bases[metric] : null;
    const said = points.map(([mean, low, high], i) =>
      `${number(mean)} [${number(low)}, ${number(high)}]` +
      (bases ? `; bases ${number(bases[i][0])} to ${number(bases[i][1])}` : ""));
    const band = { x: curve.atoms, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    return [
      { ...band, y: points.map((point) => point[1]) },
      { ...band, y: points.map((point) => point[2]), fill: "tonexty", fillcolor: faint(line) },
      {
        x: curve.atoms, y: points.map((point) => point[0]), mode: "lines+markers", name: data.methods[method].label,
        line: { color: line, width: method === "attractors" ? 3 : 1.7, dash: data.methods[method].dash },
        text: said, hovertemplate: "%{text}", showlegend: false,
      },
    ];
  });
}

function layout(dataset, metric) {
  const ink = colour("--ink"), grid = colour("--line"), soft = colour("--soft"), log = one("log").checked;
  const axis = { gridcolor: grid, linecolor: grid, zeroline: false };
  const flat = Object.entries(dataset.lines[metric]).filter(([, value]) => value !== null && !(log && value <= 0));
  const dotted = (at) => ({ type: "line", line: { color: soft, width: 1.2, dash: "dot" }, ...at });
  return {
    height: 420, margin: { l: 62, r: 14, t: 20, b: 48 }, hovermode: "x unified",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: "inherit" }, hoverlabel: { bgcolor: colour("--card"), font: { color: ink } },
    xaxis: { ...axis, type: "log", title: { text: "atoms allowed per image" }, tickvals: dataset.levels, ticktext: dataset.levels.map(String), minor: { ticks: "" } },
    yaxis: { ...axis, type: log ? "log" : "linear", title: { text: data.metrics[metric].label }, rangemode: data.metrics[metric].better === "low" ? "tozero" : "normal" },
    shapes: [
      ...flat.map(([, y]) => dotted({ xref: "paper", x0: 0, x1: 1, y0: y, y1: y })),
      dotted({ yref: "paper", y0: 0, y1: 1, x0: dataset.five_percent, x1: dataset.five_percent }),
    ],
    annotations: flat.map(([name, y]) => ({
      xref: "paper", x: 1, xanchor: "right", y: log ? Math.log10(y) : y, yanchor: "bottom", text: name, showarrow: false, font: { color: soft, size: 11 },
    })),
  };
}

/* Named one by one: Plotly's own set offers to upload the chart. */
const SETTINGS = {
  responsive: true, displaylogo: false, plotlyServerURL: "", topojsonURL: "", showSendToCloud: false, showEditInChartStudio: false,
  modeBarButtons: [["toImage"], ["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
};

/* Plotly comes packed; it is run under the page's policy, which holds the hash of its text. */
async function unpack() {
  const packed = Uint8Array.from(atob(one("plotly").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
}

function draw() {
  if (!window.Plotly) return;
  const metric = chosen(), methods = all("[name=method]:checked").map((box) => box.value);
  panels.filter((panel) => !panel.hidden).forEach((panel) => {
    const place = panel.querySelector(".curve"), dataset = data.datasets[Number(place.dataset.dataset)];
    Plotly.react(place, traces(dataset, metric, methods), layout(dataset, metric), SETTINGS);
  });
}
all("#log, [name=method]").forEach((control) => control.addEventListener("change", draw));

/* The metric is chosen in two places; headline, ratios and verdicts follow it. */
function judge(event) {
  if (event) all(".metric").forEach((select) => { select.value = event.target.value; });
  const known = all("[data-judged]").some((element) => element.dataset.judged === chosen());
  all("[data-judged]").forEach((element) => { element.hidden = element.dataset.judged !== (known ? chosen() : ""); });
  draw();
}
all(".metric").forEach((select) => select.addEventListener("change", judge));
dark.addEventListener("change", draw);

/* Reconstructions by level. */
all("input[type=range]").forEach((slider) => {
  slider.addEventListener("input", () => {
    const place = slider.dataset.dataset, dataset = data.datasets[Number(place)], level = dataset.levels[slider.value];
    const said = `${level} atom${level === 1 ? "" : "s"}`;
    one(`atoms-${place}`).textContent = said;
    slider.setAttribute("aria-valuetext", said);
    all(`img[data-dataset="${place}"]`).forEach((image) => {
      const strips = dataset.pictures[image.dataset.method];
      if (strips) image.src = strips[slider.value];
    });
  });
});

/* The gallery: a few, then drawn by the page-full, since thousands of elements are slow. */
const FIRST = 16, FULL = 120, kinds = ["attractor", "undecided", "not an attractor", "not examined"];
let drawn = 0, sorted = [];
const last = (value) => value ?? Infinity;
const orders = {
  basin: (a, b) => b.basin - a.basin,
  certificate: (a, b) => kinds.indexOf(a.certificate) - kinds.indexOf(b.certificate),
  spectral_radius: (a, b) => last(a.spectral_radius) - last(b.spectral_radius),
  residual: (a, b) => last(a.residual) - last(b.residual),
  label: (a, b) => (a.label ?? "").localeCompare(b.label ?? "") || (b.label_similarity ?? 0) - (a.label_similarity ?? 0),
};

function line(parent, text, tag = "div") {
  const element = document.createElement(tag);
  element.textContent = text;
  parent.append(element);
}

function thumbnail({ columns, rows }, name, place, said) {
  const image = document.createElement("div");
  const along = (index, count) => (count > 1 ? (100 * index) / (count - 1) : 0);
  image.className = "thumbnail";
  image.setAttribute("role", "img");
  image.setAttribute("aria-label", said);
  image.style.backgroundImage = `var(${name})`;
  image.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
  image.style.backgroundPosition = `${along(place % columns, columns)}% ${along(Math.floor(place / columns), rows)}%`;
  return image;
}

function card(atom) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  figure.className = atom.certificate === "attractor" ? "atom certified" : "atom";
  figure.dataset.atom = atom.atom;
  line(caption, `${atom.basin} start${atom.basin === 1 ? "" : "s"}`, "b");
  line(caption, atom.outcome);
  if (atom.spectral_radius !== undefined) line(caption, `ρ = ${number(atom.spectral_radius)}`);
  line(caption, atom.certificate);
  if (atom.label !== undefined) line(caption, `${atom.label} (${number(atom.label_similarity)}${atom.label_above_noise ? "" : ", as noise has"})`);
  if (data.near && atom.nearest !== undefined) {
    line(caption, `near ${atom.nearest} (${number(atom.nearest_similarity)})`);
    caption.append(thumbnail(data.near, "--near", atom.place, `Nearest image, ${atom.nearest}`));
  }
  figure.append(thumbnail(data.sheet, "--sheet", atom.place, `Decoded end point ${atom.atom}`), caption);
  return figure;
}

function more() {
  const next = Math.min(drawn + (drawn ? FULL : FIRST), sorted.length);
  one("gallery").append(...sorted.slice(drawn, next).map(card));
  drawn = next;
  one("counted").textContent = `${drawn} of ${sorted.length} shown`;
  one("more").hidden = drawn === sorted.length;
}

function arrange() {
  const kind = one("kind").value;
  sorted = data.atoms.filter((atom) => !kind || atom.certificate === kind).sort(orders[one("order").value]);
  drawn = 0;
  one("gallery").replaceChildren();
  more();
}

if (one("gallery")) {
  data.atoms.forEach((atom, place) => { atom.place = place; });
  for (const name of ["sheet", "near"]) {
    if (data[name]) document.documentElement.style.setProperty(`--${name}`, `url("${data[name].address}")`);
  }
  all("#order, #kind").forEach((control) => control.addEventListener("change", arrange));
  one("more").addEventListener("click", more);
  arrange();
}

one("copy").addEventListener("click", async () => {
  try {
    await navigator.clipboard.writeText(one("command").textContent);
  } catch { /* a page from a disk may be refused: then mark the command, for the user's own copy */
    getSelection().selectAllChildren(one("command"));
  }
});

/* What is folded cannot be unfolded on paper. */
addEventListener("beforeprint", () => all("details").forEach((folded) => { folded.open = true; }));

if (tabs.length) {
  choose(0);
  judge();
  /* A browser that cannot unpack it shows the pictures that are printed otherwise. */
  unpack().then(draw, () => document.documentElement.classList.add("undrawn"));
}
