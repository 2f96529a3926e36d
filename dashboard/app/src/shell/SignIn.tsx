import { useFleetcast, useWebSocket } from "@fleetcast/client/react";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useId, useState } from "react";
import { Button } from "../ui/Button.tsx";
import { Logo } from "./Logo.tsx";
import css from "./SignIn.module.css";
import { checkToken, forgetToken, keepToken, token } from "./token.ts";

/** Takes a token for this tab. What the one before has seen is forgotten. */
export function SignIn() {
  const client = useFleetcast();
  const queries = useQueryClient();
  const { state, lastError } = useWebSocket();
  // What the edge has been shown; null where nobody has signed in yet, and nobody is to be accused.
  const [tried, setTried] = useState(token);
  const [text, setText] = useState("");
  const [mistake, setMistake] = useState<string | null>(null);
  const id = useId();
  const isRefused = state === "signed-out" && tried !== null;
  const problem =
    mistake ?? (isRefused ? `This token was not taken. ${lastError?.message ?? "No reason was given"}.` : null);

  useEffect(() => {
    if (state === "signed-out") forgetToken();
  }, [state]);
  useEffect(() => queries.removeQueries({ type: "inactive" }), [queries]);

  const signIn = (event: FormEvent) => {
    event.preventDefault();
    const checked = checkToken(text, Date.now());
    setMistake(checked.problem);
    if (checked.problem !== null) return;
    keepToken(checked.token);
    setTried(checked.token);
    client.reconnect();
  };
  return (
    <form className={css.form} onSubmit={signIn}>
      <Logo size={36} />
      <h1 tabIndex={-1}>Sign in to Fleetcast</h1>
      <label htmlFor={id}>Token</label>
      <input
        id={id}
        type="password"
        value={text}
        onChange={(event) => setText(event.target.value)}
        autoComplete="current-password"
        spellCheck={false}
        // biome-ignore lint/a11y/noAutofocus: there is nothing else to do here
        autoFocus
        required
        aria-invalid={problem !== null}
        aria-describedby={`${id}-problem ${id}-help`}
      />
      <p id={`${id}-problem`} className={css.problem} role="alert">
        {problem}
      </p>
      <Button type="submit" variant="primary">
        {state === "connecting" ? "Signing in…" : "Sign in"}
      </Button>
      <p id={`${id}-help`} className={css.help}>
        Whoever runs this fleet makes tokens: <code>fleetcast token --sub me --role operator</code>. Yours stays in this
        tab until you close it or sign out.
      </p>
    </form>
  );
}
