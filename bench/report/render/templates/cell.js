const dialog = document.getElementById("detail");
  const pairs = (facts) =>
    make("dl", { className: "settings" }, ...facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const small = (caption, heads, lines) =>
    make(
      "table",
      { className: "small" },
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, ...lines.map(([first, ...rest]) => make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((text) => make("td", {}, text))))),
    );
  const scroll = (inside, label) => {
    const made = make("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: label }, inside);
    return made;
  };

  const tell = (block, row, metric) => {
    const cell = row.cells[board.metrics.indexOf(metric)];
    document.getElementById("detail-title").textContent = `${row.name}, ${metric}`;
    const seeds = row.trials.map((one) => [
      String(one.seed),
      cell.seeds[one.seed] ?? one.status,
      one.took ?? "–",
      one.memory ?? "–",
    ]);
    const notes = row.trials.flatMap((one) => [
      ...(one.reason ? [`Seed ${one.seed}: ${one.reason}`] : []),
      ...(one.attempts ?? []).map((text) => `Seed ${one.seed}, an earlier try: ${text}`),
    ]);
    const behind = make("details", {}, make("summary", {}, "Trials and the stages behind them"));
    behind.append(
      pairs(row.trials.flatMap((one) => [[`seed ${one.seed}`, one.id], ...(one.stages ? [["stages", one.stages]] : [])])),
    );
    const told = row.trials.find((one) => one.examples);
    document.getElementById("detail-body").replaceChildren(
      make("p", { className: "facts" }, block.title),
      pairs(cell.facts),
      scroll(small("By seed", ["seed", "value", "time", "peak memory"], seeds), "Values by seed"),
      ...(notes.length ? [make("ul", { className: "missing" }, ...notes.map((text) => make("li", {}, text)))] : []),
      ...(told ? [make("h3", {}, `First test cases, seed ${told.seed}`), ...told.examples.map(pairs)] : []),
      make("h3", {}, "The row"),
      pairs(row.about),
      behind,
    );
  };

  const open = (block, row, metric) => {
    tell(block, row, metric);
    opened = { dataset: block.dataset, row: row.name, metric };
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    writeAddress();
  };
  const reopen = () => {
    const asked = opened;
    const block = asked && board.blocks.find((one) => one.dataset === asked.dataset);
    const row = block && block.rows.find((one) => one.name === asked.row);
    if (row && board.metrics.includes(asked.metric)) open(block, row, asked.metric);
    else if (dialog.open) dialog.close();
  };
  dialog.addEventListener("close", () => {
    opened = null;
    writeAddress();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  // One stop of the Tab key a table; arrows move between its cells.
  const addCellButtons = () => {
    for (const one of tables) {
      one.rows.forEach((line, place) => {
        const row = one.block.rows[place];
        [...line.cells].slice(1).forEach((cell, column) => {
          const value = cell.querySelector(".v, b");
          const button = make("button", { type: "button", className: "cell", tabIndex: -1 });
          button.ariaHasPopup = "dialog";
          value.replaceWith(button);
          button.append(value);
          button.addEventListener("click", () => open(one.block, row, board.metrics[column]));
        });
      });
      one.table.tBodies[0].addEventListener("keydown", (event) => {
        const button = event.target.closest("button.cell");
        const way = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
        if (!button || !way) return;
        const next = neighbor(one.table, button, ...way);
        if (!next) return;
        event.preventDefault();
        button.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    }
  };
  const neighbor = (table, button, down, right) => {
    const lines = [...table.tBodies[0].rows]
      .filter((line) => !line.hidden)
      .map((line) => [...line.cells].slice(1).filter((cell) => !cell.hidden).map((cell) => cell.querySelector("button.cell")));
    const y = lines.findIndex((line) => line.includes(button));
    const line = lines[y + down];
    if (!line) return null;
    const x = lines[y].indexOf(button) + right;
    return x < 0 ? null : down ? line[Math.min(x, line.length - 1)] : line[x];
  };
  const rove = () => {
    for (const one of tables) {
      const buttons = [...one.table.querySelectorAll("button.cell")];
      const reachable = buttons.filter((button) => !button.closest("tr").hidden && !button.closest("td").hidden);
      const current = reachable.find((button) => button.tabIndex === 0) ?? reachable[0];
      for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
    }
  };
