"use strict";
(() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const marks = (id) => [...document.querySelectorAll(`mark[data-quotes~="${id}"]`)];

  function centre(mark, behavior) {
    const box = mark.closest(".text");
    const offset = mark.getBoundingClientRect().top - box.getBoundingClientRect().top;
    box.scrollTo({ top: box.scrollTop + offset - box.clientHeight / 3, behavior });
    return box;
  }

  function flash(found) {
    for (const mark of found) {
      mark.classList.remove("flash");
      void mark.offsetWidth; // starts the animation anew
      mark.classList.add("flash");
    }
    setTimeout(() => found.forEach((mark) => mark.classList.remove("flash")), 1600);
  }

  function show(link) {
    const found = marks(link.dataset.quote);
    if (!found.length) return;
    const behavior = calm ? "auto" : "smooth";
    centre(found[0], behavior).scrollIntoView({ block: "nearest", behavior });
    flash(found);
    found[0].tabIndex = -1;
    found[0].focus({ preventScroll: true });
    found[0].onkeydown = (event) => event.key === "Escape" && link.focus();
  }

  for (const link of document.querySelectorAll("a[data-quote]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(link);
    });
  }

  for (const button of document.querySelectorAll("button.whole")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const whole = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(whole));
      button.textContent = whole ? "Show the parts around the quotes" : "Show the whole document";
      for (const rest of button.parentElement.querySelectorAll(".rest")) rest.open = whole;
    });
  }

  // A table that fits has nothing to scroll, and needs no stop of the Tab key.
  function stops() {
    for (const box of document.querySelectorAll(".scroll")) box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1;
  }
  stops();
  addEventListener("resize", stops);

  for (const box of document.querySelectorAll(".text")) {
    const first = box.querySelector("mark");
    if (first && !location.hash) centre(first, "auto");
  }
})();
