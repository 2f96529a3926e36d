import { Link, useRoute } from "wouter";
import { Button } from "../ui/Button.tsx";
import { Icon, type IconName } from "../ui/Icon.tsx";
import { Banner } from "./Banner.tsx";
import { Connection } from "./Connection.tsx";
import css from "./Header.module.css";
import { Logo } from "./Logo.tsx";

export function Header({ onHelp, signedOut }: { readonly onHelp: () => void; readonly signedOut: boolean }) {
  const [onHost] = useRoute("/hosts/:host");
  return (
    <header className={css.header}>
      <div className={css.bar}>
        <Link href="/" className={css.brand} aria-label="Fleetcast">
          <Logo />
          <span>Fleetcast</span>
        </Link>
        {!signedOut && (
          <nav className={css.nav} aria-label="Views">
            <Item href="/" icon="grid" label="Fleet" isWithin={onHost} />
            <Item href="/containers" icon="box" label="Containers" />
            <Item href="/timeline" icon="clock" label="Timeline" />
          </nav>
        )}
        <div className={css.rest}>
          <Connection />
          <span className={css.help}>
            <Button variant="ghost" icon={<Icon name="keyboard" />} aria-label="Keyboard shortcuts" onClick={onHelp} />
          </span>
        </div>
      </div>
      <Banner />
    </header>
  );
}

interface ItemProps {
  readonly href: string;
  readonly icon: IconName;
  readonly label: string;
  /** Whether a page below this one is shown. */
  readonly isWithin?: boolean;
}

function Item({ href, icon, label, isWithin = false }: ItemProps) {
  const [isHere] = useRoute(href);
  return (
    <Link
      href={href}
      className={css.item}
      data-active={isHere || isWithin}
      {...(isHere ? { "aria-current": "page" as const } : {})}
    >
      <Icon name={icon} />
      <span>{label}</span>
    </Link>
  );
}
