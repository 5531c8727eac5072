const dialog = document.getElementById("detail");
  const definitions = (facts) =>
    make("dl", { className: "settings" }, ...facts.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)]));
  const scrollTable = (caption, heads, lines) =>
    make(
      "div",
      { className: "scroll", tabIndex: 0, role: "region", ariaLabel: caption },
      make(
        "table",
        { className: "small" },
        make("caption", {}, caption),
        make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
        make("tbody", {}, ...lines.map(([first, ...rest]) => make("tr", {}, make("th", { scope: "row" }, first), ...rest.map((text) => make("td", {}, text))))),
      ),
    );

  const fillDetails = (block, row, metric) => {
    const cell = row.cells[board.metrics.indexOf(metric)];
    document.getElementById("detail-title").textContent = `${row.name}, ${metric}`;
    const seeds = row.trials.map((trial) => [
      String(trial.seed),
      cell.seeds[trial.seed] ?? trial.status,
      trial.time ?? "–",
      trial.memory ?? "–",
    ]);
    const reasons = Map.groupBy(row.trials.filter((trial) => trial.reason), (trial) => trial.reason);
    const notes = [
      ...[...reasons].map(([reason, trials]) => `Seed ${trials.map((trial) => trial.seed).join(", ")}: ${reason}`),
      ...row.trials.flatMap((trial) => (trial.attempts ?? []).map((text) => `Seed ${trial.seed}, earlier attempt: ${text}`)),
    ];
    const stages = row.trials.flatMap((trial) => [
      [`seed ${trial.seed}`, trial.id],
      ...(trial.stages ? [["stages", trial.stages]] : []),
    ]);
    const withExamples = row.trials.find((trial) => trial.examples);
    document.getElementById("detail-body").replaceChildren(
      make("p", { className: "facts" }, block.title),
      definitions(cell.facts),
      scrollTable("By seed", ["seed", "value", "time", "peak memory"], seeds),
      ...(notes.length ? [make("ul", { className: "missing" }, ...notes.map((text) => make("li", {}, text)))] : []),
      ...(withExamples
        ? [make("h3", {}, `First test cases, seed ${withExamples.seed}`), ...withExamples.examples.map(definitions)]
        : []),
      make("h3", {}, "Row"),
      definitions(row.about),
      make("details", {}, make("summary", {}, "Trials and their stages"), definitions(stages)),
    );
  };

  const openDetails = (block, row, metric) => {
    fillDetails(block, row, metric);
    opened = { dataset: block.dataset, row: row.name, metric };
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    writeAddress();
  };
  const reopenDetails = () => {
    const block = opened && board.blocks.find((each) => each.dataset === opened.dataset);
    const row = block && block.rows.find((each) => each.name === opened.row);
    if (row && board.metrics.includes(opened.metric)) openDetails(block, row, opened.metric);
    else if (dialog.open) dialog.close();
  };
  dialog.addEventListener("close", () => {
    opened = null;
    writeAddress();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });

  // One Tab stop per table; arrow keys move between its cells.
  const addCellButtons = () => {
    for (const { table, block, rows } of tables) {
      rows.forEach((line, index) => {
        [...line.cells].slice(1).forEach((cell, column) => {
          const value = cell.querySelector(".v, b");
          const button = make("button", { type: "button", className: "cell", tabIndex: -1 });
          button.ariaHasPopup = "dialog";
          value.replaceWith(button);
          button.append(value);
          button.addEventListener("click", () => openDetails(block, block.rows[index], board.metrics[column]));
        });
      });
      table.tBodies[0].addEventListener("keydown", (event) => {
        const button = event.target.closest("button.cell");
        const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
        const next = button && step && neighborCell(table, button, ...step);
        if (!next) return;
        event.preventDefault();
        button.tabIndex = -1;
        next.tabIndex = 0;
        next.focus();
      });
    }
  };
  const neighborCell = (table, button, down, right) => {
    const lines = [...table.tBodies[0].rows]
      .filter((line) => !line.hidden)
      .map((line) => [...line.cells].slice(1).filter((cell) => !cell.hidden).map((cell) => cell.querySelector("button.cell")));
    const y = lines.findIndex((line) => line.includes(button));
    const line = lines[y + down];
    if (!line) return null;
    const x = lines[y].indexOf(button) + right;
    return x < 0 ? null : down ? line[Math.min(x, line.length - 1)] : line[x];
  };
  const updateTabStops = () => {
    for (const { table } of tables) {
      const buttons = [...table.querySelectorAll("button.cell")];
      const reachable = buttons.filter((button) => !button.closest("tr").hidden && !button.closest("td").hidden);
      const current = reachable.find((button) => button.tabIndex === 0) ?? reachable[0];
      for (const button of buttons) button.tabIndex = button === current ? 0 : -1;
    }
  };
