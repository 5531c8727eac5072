const kOf = (metric) => (/@(\d+)$/.exec(metric) || ["", ""])[1];
  const hiddenMetrics = () => boxes("columns").filter((box) => !box.checked).map((box) => box.value);
  const columnShown = (column) => {
    const metric = board.metrics[column];
    const k = field("k") ? field("k").value : "";
    return !hiddenMetrics().includes(metric) && (!k || !kOf(metric) || kOf(metric) === k);
  };
  const states = {
    ok: (row) => row.status === "ok",
    partial: (row) => row.status === "partial",
    stale: (row) => row.stale,
    gaps: (row) => row.status !== "ok" && row.status !== "partial",
  };
  const rowShown = (row) => {
    const words = field("find").value.trim().toLocaleLowerCase();
    const family = field("family") ? field("family").value : "";
    const state = field("status").value;
    return (
      `${row.name} ${row.method}`.toLocaleLowerCase().includes(words) &&
      (!family || row.method === family) &&
      (!state || states[state](row))
    );
  };
  const blockShown = (block) => !field("data") || !field("data").value || field("data").value === block.dataset;
  const partsShown = () => boxes("parts").filter((box) => box.checked).map((box) => box.value);
  const columns = () => board.metrics.map((_, column) => column).filter(columnShown);

  const show = () => {
    const kept = new Set(columns());
    for (const box of boxes("parts")) {
      root.classList.toggle(`show-${box.value}`, box.checked);
      root.classList.toggle(`no-${box.value}`, !box.checked);
    }
    let rowsKept = 0;
    for (const one of tables) {
      one.section.hidden = !blockShown(one.block);
      let column = 0;
      for (const family of one.families) {
        family.dataset.span ??= family.colSpan;
        const within = Array.from({ length: Number(family.dataset.span) }, () => column++);
        const left = within.filter((each) => kept.has(each)).length;
        family.hidden = !left;
        family.colSpan = Math.max(left, 1);
      }
      one.heads.forEach((head, each) => (head.hidden = !kept.has(each)));
      one.rows.forEach((line, place) => {
        line.hidden = !rowShown(one.block.rows[place]);
        rowsKept += !line.hidden && !one.section.hidden;
        const cells = [...line.cells].slice(1);
        if (cells.length === board.metrics.length && !cells[0].dataset.whole) {
          cells.forEach((cell, each) => (cell.hidden = !kept.has(each)));
        } else {
          cells[0].dataset.whole = "yes";
          cells[0].colSpan = Math.max(kept.size, 1);
          cells[0].hidden = !kept.size;
        }
      });
    }
    const all = board.blocks.reduce((sum, block) => sum + block.rows.length, 0);
    field("count").value = `${rowsKept} of ${all} rows, ${kept.size} of ${board.metrics.length} columns`;
  };
