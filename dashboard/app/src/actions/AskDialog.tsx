import { useFleetcast } from "@fleetcast/client/react";
import { type ReactNode, useId, useState, useSyncExternalStore } from "react";
import { Button } from "../ui/Button.tsx";
import { ConfirmDialog, Dialog } from "../ui/Dialog.tsx";
import css from "./AskDialog.module.css";
import { whyLeftOut } from "./offers.ts";
import { type Question, questions } from "./questions.ts";
import { MAX_CHOSEN, submit } from "./submit.ts";
import { type Chosen, isDangerous, toType, VERB_LABEL, VERB_MEANS } from "./verb.ts";

/** Asks for what `useAct` has put into `questions`, and sends it. */
export function AskDialog() {
  const client = useFleetcast();
  const question = useSyncExternalStore(questions.subscribe, questions.current);
  if (question === null) return null;
  const { verb, chosen } = question;
  const onOpenChange = (open: boolean) => {
    if (!open) questions.ask(null);
  };
  const onConfirm = () => {
    questions.ask(null);
    submit(client, verb, chosen);
  };
  if (chosen.length > MAX_CHOSEN) {
    const title = `${chosen.length} containers are too many at once`;
    return <Dialog open onOpenChange={onOpenChange} title={title} description={`Choose at most ${MAX_CHOSEN}.`} />;
  }
  const words = { title: titleOf(question), description: <Consequences question={question} /> };
  const typed = toType(verb, chosen.length);
  if (typed !== null) {
    return <TypedDialog {...words} {...{ onOpenChange, onConfirm, typed }} confirmLabel={confirmOf(question)} />;
  }
  return (
    <ConfirmDialog
      open
      {...words}
      {...{ onOpenChange, onConfirm }}
      confirmLabel={confirmOf(question)}
      danger={isDangerous(verb)}
    />
  );
}

interface TypedDialogProps {
  readonly title: ReactNode;
  readonly description: ReactNode;
  readonly confirmLabel: string;
  /** What has to be typed. */
  readonly typed: string;
  readonly onOpenChange: (open: boolean) => void;
  readonly onConfirm: () => void;
}

/** For what cannot be taken back: a click alone is not enough. */
function TypedDialog({ title, description, confirmLabel, typed, onOpenChange, onConfirm }: TypedDialogProps) {
  const [value, setValue] = useState("");
  const id = useId();
  const right = value.trim() === typed;
  return (
    <Dialog
      open
      onOpenChange={onOpenChange}
      title={title}
      description={description}
      footer={
        <>
          <Button onClick={() => onOpenChange(false)}>Cancel</Button>
          <Button form={id} type="submit" variant="danger" disabledReason={right ? undefined : `type ${typed} first`}>
            {confirmLabel}
          </Button>
        </>
      }
    >
      <form
        id={id}
        className={css.form}
        onSubmit={(event) => {
          event.preventDefault();
          if (right) onConfirm();
        }}
      >
        <label htmlFor={`${id}-typed`}>
          Type <strong>{typed}</strong> to go on
        </label>
        <input
          id={`${id}-typed`}
          className={css.input}
          value={value}
          onChange={(event) => setValue(event.target.value)}
          inputMode="numeric"
          autoComplete="off"
        />
      </form>
    </Dialog>
  );
}

function Consequences({ question: { verb, chosen, leftOut } }: { readonly question: Question }) {
  const [only] = chosen;
  if (chosen.length === 1 && leftOut.length === 0 && only) {
    return (
      <>
        <p>{VERB_MEANS[verb]}</p>
        <p className={css.what}>
          {only.container.image} · {only.container.id.slice(0, 12)}
        </p>
      </>
    );
  }
  return (
    <>
      <p>Each of these: {lowerFirst(VERB_MEANS[verb])}</p>
      <ul className={css.list} aria-label="Containers">
        {chosen.map(({ host, container }) => (
          <li key={`${host}/${container.id}`}>
            {container.name} <span className="muted">on {host}</span>
          </li>
        ))}
      </ul>
      {leftOut.length > 0 && (
        <p className={css.what}>
          {leftOut.length} more {leftOut.length === 1 ? "is" : "are"} left out: {whyLeftOut(leftOut)}.
        </p>
      )}
    </>
  );
}

export function titleOf({ verb, chosen }: Question): string {
  const [first] = chosen;
  if (chosen.length === 1 && first) return `${VERB_LABEL[verb]} ${first.container.name} on ${first.host}?`;
  return `${VERB_LABEL[verb]} ${chosen.length} containers on ${hostsOf(chosen)}?`;
}

function confirmOf({ verb, chosen }: Question): string {
  const [first] = chosen;
  return `${VERB_LABEL[verb]} ${chosen.length === 1 && first ? first.container.name : chosen.length}`;
}

function hostsOf(chosen: readonly Chosen[]): string {
  const hosts = new Set(chosen.map(({ host }) => host));
  return hosts.size === 1 ? [...hosts].join() : `${hosts.size} hosts`;
}

function lowerFirst(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
