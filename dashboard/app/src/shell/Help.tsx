import { Dialog } from "../ui/Dialog.tsx";
import css from "./Help.module.css";

interface Group {
  readonly title: string;
  /** Keys with spaces between them, and what they do. */
  readonly keys: readonly (readonly [string, string])[];
}

const GROUPS: readonly Group[] = [
  {
    title: "Everywhere",
    keys: [
      ["g f", "Go to Fleet"],
      ["g c", "Go to Containers"],
      ["g t", "Go to Timeline"],
      ["/", "Search"],
      ["Esc", "Empty the search; close what is open"],
      ["?", "This list"],
    ],
  },
  {
    title: "Fleet",
    keys: [
      ["← → ↑ ↓", "From host to host"],
      ["Enter", "Open the host"],
    ],
  },
  {
    title: "Containers",
    keys: [
      ["↑ ↓", "From row to row; with Shift, select"],
      ["Space", "Select"],
      ["← →", "Fold a project"],
      ["r", "Restart"],
      ["s", "Start or stop"],
      ["m", "More actions"],
      ["Enter", "Open"],
    ],
  },
  {
    title: "Charts",
    keys: [
      ["← →", "Move the crosshair; with Shift, further"],
      ["+ -", "Zoom"],
      ["Esc", "The whole time again"],
    ],
  },
];

export function Help({
  open,
  onOpenChange,
}: {
  readonly open: boolean;
  readonly onOpenChange: (open: boolean) => void;
}) {
  return (
    <Dialog open={open} onOpenChange={onOpenChange} title="Keyboard shortcuts">
      <div className={css.groups}>
        {GROUPS.map(({ title, keys }) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map(([key, what]) => (
                <div key={key}>
                  <dt>{what}</dt>
                  <dd>
                    {key.split(" ").map((one) => (
                      <kbd key={one}>{one}</kbd>
                    ))}
                  </dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
