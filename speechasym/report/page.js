"use strict";
// A recording: a cursor moves while it plays, a symbol plays itself, a picture plays from the click.
for (const scene of document.querySelectorAll(".hear")) {
  const sound = scene.querySelector("audio");
  const lanes = scene.querySelector(".lanes");
  const box = lanes.parentElement;
  const cursor = lanes.querySelector(".cursor");
  const seconds = Number(lanes.dataset.seconds);
  const symbols = [...lanes.querySelectorAll(".tier button")].map((button) => {
    const from = Number(button.style.getPropertyValue("--a")) * seconds / 100;
    const long = Number(button.style.getPropertyValue("--w")) * seconds / 100;
    return { button, from, to: from + long };
  });
  const bySymbol = new Map(symbols.map((symbol) => [symbol.button, symbol]));
  let stop = Infinity;

  const show = () => {
    const now = sound.currentTime;
    if (now >= stop) { sound.pause(); stop = Infinity; }
    cursor.style.display = "block";
    cursor.style.left = `${100 * Math.min(1, now / seconds)}%`;
    for (const { button, from, to } of symbols) {
      button.classList.toggle("now", !sound.paused && from <= now && now < to);
    }
    if (!sound.paused) {
      const at = cursor.getBoundingClientRect().left;
      const { left, right } = box.getBoundingClientRect();
      const gutter = lanes.querySelector(".name").offsetWidth;
      if (at > right - 20 || at < left + gutter) box.scrollLeft += at - left - gutter - 40;
      requestAnimationFrame(show);
    }
  };
  const play = (from, to) => {
    stop = to;
    sound.currentTime = from;
    sound.play().catch(() => {});
  };
  sound.addEventListener("play", () => {
    for (const other of document.querySelectorAll("audio")) if (other !== sound) other.pause();
    requestAnimationFrame(show);
  });
  for (const kind of ["pause", "seeked"]) sound.addEventListener(kind, show);
  sound.addEventListener("ended", () => { stop = Infinity; show(); });

  lanes.addEventListener("click", (event) => {
    const symbol = bySymbol.get(event.target.closest("button"));
    if (symbol) {
      const more = Math.max(0, 0.12 - (symbol.to - symbol.from)) / 2; // shorter ones are inaudible
      play(Math.max(0, symbol.from - more), symbol.to + more);
      return;
    }
    const lane = event.target.closest(".lane");
    if (!lane || lane.closest(".about")) return;
    const { left, width } = lane.getBoundingClientRect();
    play(Math.max(0, Math.min(1, (event.clientX - left) / width)) * seconds, Infinity);
  });
  for (const picture of lanes.querySelectorAll("img[data-rows]")) {
    const rows = picture.dataset.rows.split("|");
    picture.addEventListener("pointermove", (event) => {
      const { top, height } = picture.getBoundingClientRect();
      const pixel = (event.clientY - top) / height * (4 + 3 * rows.length); // four are ticks
      picture.title = rows[Math.floor((pixel - 4) / 3)] ?? "where events begin";
    });
  }
  lanes.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: "previousElementSibling", ArrowRight: "nextElementSibling" }[event.key];
    const next = step && bySymbol.has(event.target) && event.target[step];
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}
