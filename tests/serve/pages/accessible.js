// Names: aria-label, aria-labelledby, a label, the text. Contrast: WCAG 2.1, of text on the nearest opaque ground.
() => {
  const found = [], all = (what) => [...document.querySelectorAll(what)], told = (one) => one.outerHTML.slice(0, 120);
  const seen = (one) => one.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const text = (id) => document.getElementById(id)?.textContent.trim();
  const name = (one) => one.getAttribute("aria-label")?.trim()
    || (one.getAttribute("aria-labelledby") || "").split(" ").map(text).join("")
    || [...(one.labels || [])].map((label) => label.textContent.trim()).join("")
    || (one.matches("input, select, textarea, iframe, progress") ? one.title : one.textContent.trim());
  const bad = (why, one) => found.push(`${why}: ${told(one)}`);
  if (!document.documentElement.lang || !document.title) found.push("no language or title");
  for (const what of ["main", "header", "h1", "nav[aria-label]"]) if (all(what).length !== 1) found.push(`not one ${what}`);
  const levels = all("h1, h2, h3").filter(seen).map((one) => Number(one.tagName[1]));
  levels.forEach((level, i) => { if (i && level > levels[i - 1] + 1) found.push(`h${level} after h${levels[i - 1]}`); });
  for (const one of all("a, button, input:not([type=hidden]), select, textarea, iframe, progress, summary, [role=region]"))
    if (seen(one) && !name(one)) bad("without a name", one);
  for (const one of all("table")) if (!one.caption) bad("without a caption", one);
  for (const one of all("thead th")) if (!one.scope) bad("without a scope", one);
  for (const one of all("[aria-describedby], [aria-labelledby]"))
    for (const id of `${one.getAttribute("aria-describedby") || ""} ${one.getAttribute("aria-labelledby") || ""}`.trim().split(/ +/))
      if (!document.getElementById(id)) bad(`names ${id}, which is absent,`, one);
  const ids = all("[id]").map((one) => one.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(`id ${id} twice`);
  for (const one of all("[style], [onclick], script:not([src]), style")) bad("inline", one);
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    paint.clearRect(0, 0, 1, 1); paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    return paint.getImageData(0, 0, 1, 1).data;
  };
  const light = (colour) => [...colour].slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return light(colour);
    }
    return 1;
  };
  for (const one of all("body *")) {
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || !seen(one)) continue;
    const a = light(rgba(getComputedStyle(one).color)), b = ground(one);
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) bad(`contrast ${contrast.toFixed(2)}`, one);
  }
  if (document.documentElement.scrollWidth > innerWidth) found.push(`scrolls sideways: ${document.documentElement.scrollWidth}`);
  return found;
}
