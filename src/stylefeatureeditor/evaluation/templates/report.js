for (const figure of document.querySelectorAll("figure.pair")) {
  const view = figure.querySelector(".view"), images = view.querySelectorAll("img");
  const slider = figure.querySelector("input[type=range]");
  const map = figure.querySelector("input[type=checkbox]");
  let scale = 1, x = 0, y = 0, held = null;
  const show = () => {
    const side = view.clientWidth;
    x = Math.min(0, Math.max(side * (1 - scale), x));
    y = Math.min(0, Math.max(side * (1 - scale), y));
    const cut = Number(slider.value) / 100;
    view.style.setProperty("--cut", cut * 100 + "%");
    for (const image of images) {
      image.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
      if (image.classList.contains("after")) {
        const left = Math.max(0, (cut * side - x) / scale);
        image.style.clipPath = `inset(0 0 0 ${left}px)`;
      }
    }
    view.style.cursor = scale > 1 ? "grab" : "zoom-in";
    view.style.touchAction = scale > 1 ? "none" : "pan-y";
  };
  const zoom = (factor, px, py) => {
    const next = Math.min(16, Math.max(1, scale * factor));
    x = px - (px - x) * next / scale;
    y = py - (py - y) * next / scale;
    scale = next;
    show();
  };
  slider.addEventListener("input", show);
  map.addEventListener("change", () => view.classList.toggle("map", map.checked));
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, event.offsetX, event.offsetY);
  }, { passive: false });
  view.addEventListener("dblclick", (event) => {
    const box = view.getBoundingClientRect();
    zoom(scale > 1 ? 0.001 : 4, event.clientX - box.left, event.clientY - box.top);
  });
  view.addEventListener("pointerdown", (event) => {
    held = [event.clientX - x, event.clientY - y];
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", (event) => {
    if (held) { x = event.clientX - held[0]; y = event.clientY - held[1]; show(); }
  });
  view.addEventListener("pointerup", () => { held = null; });
  show();
}
