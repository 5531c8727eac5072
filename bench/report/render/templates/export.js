// The same rule as `join` in bench/report/render/exports.py: with everything shown, the same bytes.
  const PARTS = ["sd", "pub", "ci", "p"];
  const joined = (file, cells) => (cells.length ? (file.lead ?? "") : "") + cells.join(file.sep ?? "");
  const written = (ending) => {
    const file = board.files[ending];
    const kept = columns();
    const parts = partsShown();
    const cellText = (cell) => cell[0] + PARTS.map((name, place) => (parts.includes(name) ? (cell[place + 1] ?? "") : "")).join("");
    let head = "";
    if (file.heads) {
      head = (file.head_start ?? "") + joined(file, kept.map((column) => file.heads[column])) + file.head_end;
      head += (file.rule_start ?? "") + (file.rule ?? "").repeat(kept.length) + (file.rule_end ?? "");
    }
    let text = (file.before ?? "") + (file.column ?? "").repeat(kept.length) + (file.opened ?? "");
    if (!file.head_in_block) text += head;
    let first = true;
    board.blocks.forEach((block, b) => {
      const rows = blockShown(block) ? order(block).filter((place) => rowShown(block.rows[place])) : [];
      if (!rows.length) return;
      text += file.blocks[b].replaceAll("{n}", kept.length + 1) + (file.head_in_block ? head : "");
      for (const place of rows) {
        const cells = kept.map((column) => file.cells[b][place][column]).filter((cell) => cell[0]).map(cellText);
        const end = cells.length ? (file.row_end ?? "") : (file.row_end_empty ?? file.row_end ?? "");
        text += (first ? "" : (file.between ?? "")) + file.rows[b][place] + joined(file, cells) + end;
        first = false;
      }
    });
    return text + (file.after ?? "");
  };
  for (const button of form.querySelectorAll("button[data-save]")) {
    button.addEventListener("click", () => {
      const ending = button.dataset.save;
      const address = URL.createObjectURL(new Blob([written(ending)], { type: board.types[ending] }));
      make("a", { href: address, download: `${board.name}.${ending}` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10000);
    });
  }
