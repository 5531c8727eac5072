const NAME = "row";
  const nextOrder = (order) => ({ "": "best", best: "worst", worst: "" })[order];
  const currentOrder = (block, by) => {
    const state = sorting.get(block.dataset);
    return state && state.by === by ? state.order : "";
  };
  const rowOrder = (block) => {
    const indices = [...block.rows.keys()];
    const state = sorting.get(block.dataset);
    if (!state) return indices;
    const sign = state.order === "best" ? 1 : -1;
    if (state.by === NAME) {
      const name = (index) => block.rows[index].name;
      return indices.sort((a, b) => sign * name(a).localeCompare(name(b)) || a - b);
    }
    const column = board.metrics.indexOf(state.by);
    const direction = board.higher[column] ? -1 : 1;
    const mean = (index) => block.rows[index].cells[column].mean;
    return indices.sort((a, b) => {
      const [first, second] = [mean(a), mean(b)];
      if (first === null || second === null) return (first === null) - (second === null) || a - b;
      return sign * direction * (first - second) || a - b;
    });
  };

  const sortTables = () => {
    for (const { table, block, rows, groups } of tables) {
      // Rows are sorted within their group, whose gains stay last.
      for (const index of rowOrder(block)) rows[index].parentElement.append(rows[index]);
      for (const group of groups) group.append(...group.querySelectorAll("tr.gain"));
      for (const button of table.querySelectorAll("button.sort")) {
        const by = button.dataset.by;
        const order = currentOrder(block, by);
        const bestIsLow = by === NAME || !board.higher[board.metrics.indexOf(by)];
        const ascending = (order === "best") === bestIsLow;
        button.classList.toggle("on", Boolean(order));
        button.closest("th").ariaSort = !order ? "none" : ascending ? "ascending" : "descending";
        button.querySelector(".way").textContent = !order ? "↕" : ascending ? "▲" : "▼";
      }
    }
  };

  const addSortButtons = () => {
    for (const { table, block, heads } of tables) {
      const corner = table.tHead.rows[0].cells[0];
      [corner, ...heads].forEach((head, index) => {
        const by = index ? board.metrics[index - 1] : NAME;
        const button = make("button", { type: "button", className: "sort" });
        button.dataset.by = by;
        button.title = index ? "Sort: best first, worst first, original order" : "Sort by name";
        const at = head.querySelector(".at");
        const way = at ? at.querySelector(".mark") : make("span", { className: "mark" });
        way.classList.add("way");
        way.ariaHidden = "true";
        button.append(...head.childNodes);
        if (!at) button.append(way);
        head.append(button);
        button.addEventListener("click", () => {
          const order = nextOrder(currentOrder(block, by));
          if (order) sorting.set(block.dataset, { by, order });
          else sorting.delete(block.dataset);
          refresh();
        });
      });
    }
  };
