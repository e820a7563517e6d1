/* Draws the charts of a page, in its width and its light or dark mode, and again when either changes. */
(() => {
  const dark = () => {
    const chosen = document.body.dataset.theme;
    return chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  };
  const draw = async () => {
    for (const place of document.querySelectorAll(".chart")) {
      const source = place.querySelector("script[type='application/json']");
      place.spec ??= source.textContent;
      const spec = JSON.parse(dark() ? place.spec.replaceAll('"#000000"', '"#f2f2f2"') : place.spec);
      const small = place.clientWidth < 500;
      spec.width = Math.min(760, place.clientWidth - (small ? 60 : 80));
      spec.height = small ? 260 : 380;
      spec.background = "transparent";
      const view = document.createElement("div");
      await vegaEmbed(view, spec, { actions: false, renderer: "svg", theme: dark() ? "dark" : undefined });
      place.replaceChildren(source, view);
    }
  };
  let waiting;
  const again = () => { clearTimeout(waiting); waiting = setTimeout(draw, 150); };
  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth !== width) { width = document.documentElement.clientWidth; again(); }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new MutationObserver(again).observe(document.body, { attributeFilter: ["data-theme"] });
  draw();
})();
