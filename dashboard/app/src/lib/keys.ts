/** Whether a key is meant for the page: without a modifier, not typed into a field, not taken by a dialog or a menu. */
export function isPlainKey(event: KeyboardEvent): boolean {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return false;
  const target = event.target instanceof Element ? event.target : null;
  return !target?.closest(
    "input, textarea, select, [contenteditable=true], [role=dialog], [role=alertdialog], [role=menu]",
  );
}
