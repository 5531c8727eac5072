const NAME = "row";
  const cycle = (before) => ({ "": "best", best: "worst", worst: "" })[before];
  const asked = (block, by) => {
    const found = sorted.get(block.dataset);
    return found && found.by === by ? found.order : "";
  };
  const order = (block) => {
    const places = block.rows.map((_, place) => place);
    const found = sorted.get(block.dataset);
    if (!found) return places;
    const sign = found.order === "best" ? 1 : -1;
    if (found.by === NAME) {
      const name = (place) => block.rows[place].name;
      return places.sort((a, b) => sign * name(a).localeCompare(name(b)) || a - b);
    }
    const column = board.metrics.indexOf(found.by);
    const better = board.higher[column] ? -1 : 1;
    const mean = (place) => block.rows[place].cells[column].mean;
    return places.sort((a, b) => {
      const [one, other] = [mean(a), mean(b)];
      if (one === null || other === null) return (one === null) - (other === null) || a - b;
      return sign * better * (one - other) || a - b;
    });
  };

  const sortTables = () => {
    for (const one of tables) {
      one.table.tBodies[0].append(...order(one.block).map((place) => one.rows[place]));
      for (const button of one.table.querySelectorAll("button.sort")) {
        const by = button.dataset.by;
        const now = asked(one.block, by);
        const rising = by === NAME || !board.higher[board.metrics.indexOf(by)];
        const upwards = (now === "best") === rising;
        button.classList.toggle("on", Boolean(now));
        button.closest("th").ariaSort = !now ? "none" : upwards ? "ascending" : "descending";
        button.querySelector(".way").textContent = !now ? "↕" : upwards ? "▲" : "▼";
      }
    }
  };

  const addSortButtons = () => {
    for (const one of tables) {
      const corner = one.table.tHead.rows[0].cells[0];
      [corner, ...one.heads].forEach((head, place) => {
        const by = place ? board.metrics[place - 1] : NAME;
        const button = make("button", { type: "button", className: "sort" });
        button.dataset.by = by;
        button.title = place ? "Sort: best first, worst first, as in the paper" : "Sort by name";
        const at = head.querySelector(".at");
        const way = at ? at.querySelector(".mark") : make("span", { className: "mark" });
        way.classList.add("way");
        way.ariaHidden = "true";
        button.append(...head.childNodes);
        if (!at) button.append(way);
        head.append(button);
        button.addEventListener("click", () => {
          const next = cycle(asked(one.block, by));
          if (next) sorted.set(one.block.dataset, { by, order: next });
          else sorted.delete(one.block.dataset);
          refresh();
        });
      });
    }
  };
