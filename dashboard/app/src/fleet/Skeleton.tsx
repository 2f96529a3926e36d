import css from "./Skeleton.module.css";

const PLACES = Array.from({ length: 24 }, (_, index) => index);

/** The places of hosts that are not known yet: as large as they will be. */
export function Skeleton({ view }: { readonly view: "tiles" | "rows" }) {
  return (
    <div className={css[view]} role="status" aria-label="Waiting for the fleet">
      {PLACES.map((place) => (
        <div key={place} className={css.place} />
      ))}
    </div>
  );
}
