"use strict";
(() => {
  // Loads the page again once it has changed, but not under a reader's hands.
  let known = null;
  setInterval(async () => {
    try {
      const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store" });
      const now = answer.headers.get("ETag");
      const hand = document.activeElement;
      const busy = document.querySelector("dialog[open]") || (hand && hand.matches("input, select"));
      if (known === null) known = now;
      else if (now !== known && !busy) location.reload();
    } catch {
      // The server has ended; what is shown stays.
    }
  }, 2000);
})();
