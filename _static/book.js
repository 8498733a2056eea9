/* The few things on the site that move. Nothing is hidden from a reader without scripts. */

/* --- The figure of the landing page: points that follow the flow, forth and back ------------------------------- */

function heroFigure(figure) {
  const ways = [...figure.querySelectorAll("polyline")].map((way) => [...way.points].map((point) => [point.x, point.y]));
  const points = [...figure.querySelectorAll("circle")];
  const control = figure.querySelector(".nde-hero-control");
  const [button, slider] = [control.querySelector("button"), control.querySelector("input")];
  const [rest, there, back] = [900, 3600, 2400]; // ms: how long the points stand still, go, and come home
  let playing = false, phase = 0, before = null;

  function show(time) { // 0 is the start of every trajectory, 1 its end; between two states, the straight line
    points.forEach((point, i) => {
      const place = time * (ways[i].length - 1), state = Math.min(Math.floor(place), ways[i].length - 2);
      const [a, b] = [ways[i][state], ways[i][state + 1]];
      point.setAttribute("cx", a[0] + (place - state) * (b[0] - a[0]));
      point.setAttribute("cy", a[1] + (place - state) * (b[1] - a[1]));
    });
  }
  function frame(now) {
    if (!playing) return;
    phase = (phase + Math.min(now - (before ?? now), 100)) % (2 * rest + there + back);
    before = now;
    const time = phase < rest + there ? Math.max(0, phase - rest) / there
      : Math.min(1, Math.max(0, 1 - (phase - 2 * rest - there) / back));
    slider.value = time;
    show(time);
    requestAnimationFrame(frame);
  }
  function play(on) {
    playing = on;
    before = null;
    button.textContent = on ? "Pause" : "Play";
    if (on) requestAnimationFrame(frame);
  }
  button.addEventListener("click", () => play(!playing));
  slider.addEventListener("input", () => {
    play(false);
    phase = rest + slider.value * there; // from here it goes on
    show(Number(slider.value));
  });
  control.hidden = false;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  still.addEventListener("change", () => still.matches && play(false));
  play(!still.matches);
}

/* --- The graph of the chapters: the way to the one that the reader points at ----------------------------------- */

function chapterGraph(graph) {
  const boxes = new Map([...graph.querySelectorAll("li")].map((box) => [box.dataset.chapter, box]));
  function wayTo(number, way = new Set()) { // the chapter and all that it needs, directly or not
    way.add(number);
    boxes.get(number).dataset.needs.split(" ").filter(Boolean).forEach((need) => wayTo(need, way));
    return way;
  }
  function point(box) {
    const way = box ? wayTo(box.dataset.chapter) : new Set();
    graph.classList.toggle("nde-pointed", Boolean(box));
    boxes.forEach((other, number) => other.classList.toggle("nde-on-way", way.has(number)));
    graph.querySelectorAll("path").forEach((path) => path.classList.toggle("nde-on-way", way.has(path.dataset.to)));
  }
  boxes.forEach((box) => {
    box.addEventListener("pointerenter", () => point(box));
    box.addEventListener("pointerleave", () => point(null));
    box.addEventListener("focusin", () => point(box));
    box.addEventListener("focusout", () => point(null));
  });
}

/* --- Paper: light, and with every drop-down open --------------------------------------------------------------- */

function beforePaper() {
  const root = document.documentElement;
  if ("themeOnScreen" in root.dataset) return;
  root.dataset.themeOnScreen = root.dataset.theme;
  root.dataset.theme = "light";
  document.querySelectorAll("details:not([open])").forEach((details) => {
    details.open = true;
    details.dataset.openedForPaper = "";
  });
}

function afterPaper() {
  const root = document.documentElement;
  if (!("themeOnScreen" in root.dataset)) return;
  root.dataset.theme = root.dataset.themeOnScreen;
  delete root.dataset.themeOnScreen;
  document.querySelectorAll("[data-opened-for-paper]").forEach((details) => {
    details.open = false;
    delete details.dataset.openedForPaper;
  });
}

/* --- Formulas wider than their place: they scroll, by the keyboard too ------------------------------------------ */

function wideFormulas() {
  const formulas = [...document.querySelectorAll(".bd-article mjx-container")];
  formulas.forEach((formula) => formula.classList.remove("nde-wide"));
  const wide = formulas.map((formula) => { // all are measured before any is changed: the page is laid out once
    if (formula.getAttribute("display")) return formula.scrollWidth > formula.clientWidth;
    const place = formula.closest("p, li, dt, dd, td, th, figcaption, summary, h1, h2, h3");
    return Boolean(place) && formula.offsetWidth > place.clientWidth;
  });
  formulas.forEach((formula, i) => {
    formula.classList.toggle("nde-wide", wide[i] && !formula.getAttribute("display"));
    if (wide[i]) formula.tabIndex = 0;
    else formula.removeAttribute("tabindex");
  });
}

addEventListener("load", () => window.MathJax?.startup?.promise?.then(() => document.fonts.ready).then(wideFormulas));
addEventListener("resize", wideFormulas);
addEventListener("toggle", wideFormulas, { capture: true }); // a drop-down that opens
addEventListener("beforeprint", beforePaper);
addEventListener("afterprint", afterPaper);
matchMedia("print").addEventListener("change", (print) => (print.matches ? beforePaper : afterPaper)());
addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".nde-hero").forEach(heroFigure);
  document.querySelectorAll(".nde-graph").forEach(chapterGraph);
});
