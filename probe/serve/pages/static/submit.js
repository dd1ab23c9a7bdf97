"use strict";
// The form and the YAML are one configuration: a change in either is sent to the server, which answers with both and
// with the mistakes that it finds. Nothing is read or written as YAML here.
(() => {
  const form = document.getElementById("submit"), yaml = document.getElementById("yaml");
  const fields = document.getElementById("fields"), notes = document.getElementById("notes");
  const numbers = document.querySelector(".numbers"), state = document.getElementById("yaml-state");
  const PAUSE = 400; // milliseconds after the last key
  let latest = 0, timer = 0, pending = null, mistakes = [];

  document.getElementById("send").value = "yaml"; // it has all that the form has, and more

  function given() {
    const data = new FormData(form), values = {};
    for (const one of fields.querySelectorAll("input[id]")) values[one.name] = one.value;
    return { values, datasets: data.getAll("datasets") };
  }

  async function check(changed) {
    pending = null;
    const mine = ++latest, body = { yaml: yaml.value, ...(changed === "form" ? given() : {}) };
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": form.elements.csrf.value };
    let found;
    try {
      const answer = await fetch(form.dataset.check, { method: "POST", headers, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(answer.statusText);
      found = await answer.json();
    } catch (error) {
      if (mine === latest) state.textContent = `Not checked: ${error.message}.`;
      return;
    }
    if (mine !== latest) return; // something was typed meanwhile
    if (changed === "form" && found.yaml !== null) yaml.value = found.yaml;
    if (changed === "yaml" && found.values) show(found.values);
    mistakes = found.errors;
    state.textContent = mistakes.length === 0 ? `Valid: the configuration of ${found.what}.`
      : mistakes.length === 1 ? "One mistake." : `${mistakes.length} mistakes.`;
    yaml.setAttribute("aria-invalid", String(mistakes.length > 0));
    draw();
  }

  function show(values) {
    document.getElementById("other").hidden = values.run;
    for (const one of fields.querySelectorAll("input")) {
      one.disabled = !values.run;
      if (one.name === "datasets") one.checked = values.datasets.includes(one.value);
      else one.value = values[one.name];
    }
  }

  function soon(changed) {
    clearTimeout(timer);
    pending = changed;
    latest++; // an answer on its way is to an older text
    timer = setTimeout(check, PAUSE, changed);
  }

  // Line numbers, and each mistake beside its line.
  function draw() {
    const lines = yaml.value.split("\n").length, wrong = new Set(mistakes.map((one) => one.line));
    numbers.replaceChildren();
    for (let line = 1; line <= lines; line++) {
      const number = document.createElement(wrong.has(line) ? "b" : "span");
      number.textContent = `${line}\n`;
      numbers.append(number);
    }
    notes.replaceChildren(...mistakes.map(note));
    scroll();
  }

  function note(mistake) {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = mistake.line ? `Line ${mistake.line}: ${mistake.message}` : mistake.message;
    button.addEventListener("click", () => {
      const before = yaml.value.split("\n").slice(0, (mistake.line || 1) - 1).join("\n").length;
      const start = before + (mistake.line > 1 ? 1 : 0), end = yaml.value.indexOf("\n", start);
      yaml.focus();
      yaml.setSelectionRange(start, end < 0 ? yaml.value.length : end);
    });
    item.append(button);
    return item;
  }

  function scroll() {
    numbers.scrollTop = yaml.scrollTop;
    const height = parseFloat(getComputedStyle(yaml).lineHeight), top = parseFloat(getComputedStyle(yaml).paddingTop);
    let free = -Infinity; // notes of neighbouring lines move down rather than cover each other
    [...notes.children].forEach((item, i) => {
      const wanted = top + ((mistakes[i].line || 1) - 1) * height - yaml.scrollTop;
      const place = Math.max(wanted, free);
      item.style.top = `${place}px`;
      free = place + item.offsetHeight + 2;
    });
  }

  yaml.addEventListener("input", () => { draw(); soon("yaml"); });
  yaml.addEventListener("scroll", scroll);
  fields.addEventListener("input", () => soon("form"));
  document.getElementById("advanced").addEventListener("toggle", scroll);
  draw();
  check("yaml");
  document.getElementById("mistakes")?.focus();
  // What is sent is the text: a change of the form that it does not have yet goes into it first.
  form.addEventListener("submit", async (event) => {
    if (pending !== "form") return;
    event.preventDefault();
    clearTimeout(timer);
    await check("form");
    form.requestSubmit(event.submitter);
  });
})();
