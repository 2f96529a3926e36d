import { type KeyboardEvent, useEffect, useRef } from "react";
import { isPlainKey } from "../lib/keys.ts";
import css from "./Field.module.css";
import { Icon } from "./Icon.tsx";

interface SearchFieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly placeholder?: string;
  /** A key that leads here from anywhere on the page. */
  readonly shortcut?: string;
}

/** Escape empties it, and leaves it where it is empty. */
export function SearchField({ label, value, onChange, placeholder = "Search", shortcut }: SearchFieldProps) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (shortcut === undefined) return;
    const onKey = (event: globalThis.KeyboardEvent) => {
      if (event.key !== shortcut || !isPlainKey(event)) return;
      event.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [shortcut]);

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    if (value) onChange("");
    else input.current?.blur();
  };
  const clear = () => {
    onChange("");
    input.current?.focus();
  };
  return (
    <span className={css.search}>
      <Icon name="search" size={14} />
      <input
        ref={input}
        type="search"
        aria-label={label}
        value={value}
        placeholder={placeholder}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => onChange(event.target.value)}
        onKeyDown={onKeyDown}
        {...(shortcut ? { "aria-keyshortcuts": shortcut } : {})}
      />
      {value !== "" && (
        <button type="button" aria-label="Clear" onClick={clear}>
          <Icon name="cross" size={12} />
        </button>
      )}
      {value === "" && shortcut && (
        <span className={css.key} aria-hidden="true">
          {shortcut}
        </span>
      )}
    </span>
  );
}
