"use strict";
(() => {
  // Reloads the page once it has changed, unless the reader is typing or reading details.
  let current = null;
  setInterval(async () => {
    try {
      const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
      const tag = answer.headers.get("ETag");
      const focused = document.activeElement;
      const busy = document.querySelector("dialog[open]") || (focused && focused.matches("input, select"));
      if (current === null) current = tag;
      else if (tag !== current && !busy) location.reload();
    } catch {
      // The server has ended; the page stays as it is.
    }
  }, 2000);
})();
