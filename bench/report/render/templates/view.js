// Which rows, columns and parts are shown, the address that restores them, and their CSV.
  const kOf = (metric) => (/@(\d+)$/.exec(metric) || ["", ""])[1];
  const valueOf = (name) => (field(name) ? field(name).value : "");
  const hiddenMetrics = () => boxes("columns").filter((box) => !box.checked).map((box) => box.value);
  const visibleParts = () => boxes("parts").filter((box) => box.checked).map((box) => box.value);
  const visibleColumns = () =>
    [...board.metrics.keys()].filter((column) => {
      const metric = board.metrics[column];
      const k = valueOf("k");
      return !hiddenMetrics().includes(metric) && (!k || !kOf(metric) || kOf(metric) === k);
    });
  const statusFilters = {
    ok: (row) => row.status === "ok",
    partial: (row) => row.status === "partial",
    stale: (row) => row.stale,
    gaps: (row) => row.status !== "ok" && row.status !== "partial",
  };
  const rowMatches = (row) => {
    const text = valueOf("find").trim().toLocaleLowerCase();
    const status = valueOf("status");
    return (
      `${row.name} ${row.method}`.toLocaleLowerCase().includes(text) &&
      (!valueOf("family") || row.method === valueOf("family")) &&
      (!status || statusFilters[status](row))
    );
  };

  const showSelection = () => {
    const columns = new Set(visibleColumns());
    for (const box of boxes("parts")) {
      root.classList.toggle(`show-${box.value}`, box.checked);
      root.classList.toggle(`no-${box.value}`, !box.checked);
    }
    let numRows = 0;
    for (const { block, section, families, heads, rows, groups } of tables) {
      section.hidden = Boolean(valueOf("data")) && valueOf("data") !== block.dataset;
      let column = 0;
      for (const family of families) {
        family.dataset.span ??= family.colSpan;
        const members = Array.from({ length: Number(family.dataset.span) }, () => column++);
        const span = members.filter((member) => columns.has(member)).length;
        family.hidden = !span;
        family.colSpan = Math.max(span, 1);
      }
      heads.forEach((head, index) => (head.hidden = !columns.has(index)));
      rows.forEach((line, index) => {
        line.hidden = !rowMatches(block.rows[index]);
        numRows += !line.hidden && !section.hidden;
        const cells = [...line.cells].slice(1);
        if (cells.length === board.metrics.length && !cells[0].dataset.spanning) {
          cells.forEach((cell, each) => (cell.hidden = !columns.has(each)));
        } else {
          cells[0].dataset.spanning = "yes";
          cells[0].colSpan = Math.max(columns.size, 1);
          cells[0].hidden = !columns.size;
        }
      });
      section.querySelector(".empty").hidden = rows.some((line) => !line.hidden);
      for (const group of groups) {
        group.hidden = ![...group.querySelectorAll("tr.row")].some((line) => !line.hidden);
        for (const line of group.querySelectorAll("tr.gain")) {
          [...line.cells].slice(1).forEach((cell, each) => (cell.hidden = !columns.has(each)));
        }
        for (const line of group.querySelectorAll("tr.group")) line.cells[0].colSpan = columns.size + 1;
      }
    }
    const total = board.blocks.reduce((sum, block) => sum + block.rows.length, 0);
    field("count").value = `${numRows} of ${total} rows, ${columns.size} of ${board.metrics.length} columns`;
  };

  const readState = (from) => {
    for (const name of filters) if (field(name)) field(name).value = from.get(name) ?? "";
    for (const name of filters) if (field(name) && field(name).selectedIndex === -1) field(name).value = "";
    const parts = from.has("show") ? from.get("show").split(",") : board.parts;
    for (const box of boxes("parts")) box.checked = parts.includes(box.value);
    const hidden = from.getAll("hide");
    for (const box of boxes("columns")) box.checked = !hidden.includes(box.value);
    sorting.clear();
    const [by, orders] = [from.getAll("by"), from.getAll("order")];
    from.getAll("sort").forEach((dataset, index) => {
      const exists = by[index] === NAME || board.metrics.includes(by[index]);
      if (exists && ["best", "worst"].includes(orders[index])) sorting.set(dataset, { by: by[index], order: orders[index] });
    });
    opened = from.has("open") ? { dataset: from.get("open"), row: from.get("row"), metric: from.get("metric") } : null;
  };
  // The address holds what differs from a first visit.
  const writeAddress = () => {
    const to = new URLSearchParams();
    for (const name of filters) if (valueOf(name)) to.set(name, valueOf(name));
    const parts = visibleParts();
    if (parts.join() !== board.parts.join()) to.set("show", parts.join());
    for (const metric of hiddenMetrics()) to.append("hide", metric);
    for (const [dataset, { by, order }] of sorting) {
      to.append("sort", dataset);
      to.append("by", by);
      to.append("order", order);
    }
    if (opened) {
      to.set("open", opened.dataset);
      to.set("row", opened.row);
      to.set("metric", opened.metric);
    }
    const state = to.toString();
    history.replaceState(null, "", state ? `#${state}` : location.pathname + location.search);
  };

  const csvField = (text) => {
    const harmless = /^[=+\-@]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text;
    return /[",\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
  };
  const exportCsv = () => {
    const columns = visibleColumns();
    const parts = visibleParts();
    const heads = columns.flatMap((column) => ["", ...parts].map((part) => `${board.metrics[column]} ${part}`.trim()));
    const lines = [["data set", "group", "row", ...heads]];
    for (const { block, section, rows } of tables) {
      if (section.hidden) continue;
      for (const index of rowOrder(block).filter((each) => !rows[each].hidden)) {
        const cells = columns.flatMap((column) => {
          const { mean } = block.rows[index].cells[column];
          const cell = rows[index].cells[column + 1];
          const shown = parts.map((part) => cell?.querySelector(`.${part}`)?.innerText.replace(/\s+/g, " ") ?? "");
          return [mean === null ? "" : String(mean), ...shown];
        });
        lines.push([block.title, block.rows[index].group, block.rows[index].name, ...cells]);
      }
    }
    const text = lines.map((line) => `${line.map(csvField).join(",")}\n`).join("");
    const address = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    make("a", { href: address, download: `${board.name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };
