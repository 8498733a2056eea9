// Tips for the words of the glossary: shown by mouse, by keyboard and by a first tap; a second tap follows the link.
// A tip stays while the pointer is on it, and Escape closes it (WCAG 1.4.13).
(() => {
  let shown = null;
  let leaving = 0;
  let touched = false;

  const hide = () => {
    clearTimeout(leaving);
    shown?.classList.remove("nde-shown");
    shown = null;
  };

  const show = (term, x) => {
    const tip = document.getElementById(term.getAttribute("aria-describedby"));
    clearTimeout(leaving);
    if (!tip || tip === shown) return;
    hide();
    // A word may be broken over two lines: stand at the piece that was pointed at, below it or, without room, above.
    const pieces = [...term.getClientRects()];
    const word = pieces.find((piece) => x >= piece.left && x <= piece.right) ?? pieces[0];
    const { width, height } = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth - width - 8;
    const below = word.bottom + height + 4 < window.innerHeight;
    tip.style.left = `${Math.max(8, Math.min(word.left, room))}px`;
    tip.style.top = `${below ? word.bottom : Math.max(0, word.top - height)}px`;
    tip.classList.add("nde-shown");
    shown = tip;
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const term of document.querySelectorAll(".nde-term")) {
      const tip = document.getElementById(term.getAttribute("aria-describedby"));
      for (const part of [term, tip]) {
        part.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show(term, event.clientX));
        part.addEventListener("pointerleave", () => (leaving = setTimeout(hide, 200)));
      }
      term.addEventListener("pointerdown", (event) => (touched = event.pointerType !== "mouse" && tip !== shown));
      term.addEventListener("focus", () => touched || show(term));
      term.addEventListener("blur", hide);
      term.addEventListener("click", (event) => {
        if (!touched) return;
        event.preventDefault();
        touched = false;
        show(term, event.clientX);
      });
    }
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
    document.addEventListener("pointerdown", (event) => event.target.closest(".nde-term, .nde-tip") || hide());
    document.addEventListener("scroll", hide, { passive: true, capture: true });
  });
})();
