"use strict";
(() => {
  // Without this script the page shows means and deviations, and everything else in the lists below.
  const root = document.documentElement;
  const controls = document.querySelector(".controls");
  if (!controls) return;
  const boxes = [...controls.querySelectorAll("input")];
  const apply = () => {
    for (const box of boxes) {
      root.classList.toggle(`show-${box.value}`, box.checked);
      root.classList.toggle(`no-${box.value}`, !box.checked);
    }
  };
  const read = () => {
    const asked = /^#show=([a-z,]*)$/.exec(location.hash);
    if (asked) for (const box of boxes) box.checked = asked[1].split(",").includes(box.value);
    apply();
  };
  controls.addEventListener("change", () => {
    apply();
    const shown = boxes.filter((box) => box.checked).map((box) => box.value);
    history.replaceState(null, "", `#show=${shown.join(",")}`);
  });
  addEventListener("hashchange", read);
  controls.hidden = false;
  read();
})();
