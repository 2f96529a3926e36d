import { AlertDialog as Alert, Dialog as Radix } from "radix-ui";
import { type ReactNode, useRef } from "react";
import { Button } from "./Button.tsx";
import css from "./Dialog.module.css";
import { Icon } from "./Icon.tsx";
import { useFocusBack } from "./useFocusBack.ts";

export interface DialogProps {
  readonly open: boolean;
  readonly onOpenChange: (open: boolean) => void;
  readonly title: ReactNode;
  readonly description?: ReactNode;
  readonly children?: ReactNode;
  readonly footer?: ReactNode;
}

/** Keeps the focus inside and gives it back; Escape and a click beside it close it. */
export function Dialog({ open, onOpenChange, title, description, children, footer }: DialogProps) {
  const content = useRef<HTMLDivElement>(null);
  useFocusBack(open);
  return (
    <Radix.Root open={open} onOpenChange={onOpenChange}>
      <Radix.Portal>
        <Radix.Overlay className={css.scrim} />
        <Radix.Content
          ref={content}
          className={css.dialog}
          onOpenAutoFocus={(event) => {
            event.preventDefault();
            content.current?.focus();
          }}
          {...(description ? {} : { "aria-describedby": undefined })}
        >
          <div className={css.head}>
            <Radix.Title className={css.title}>{title}</Radix.Title>
            <Radix.Close className={css.close} aria-label="Close">
              <Icon name="cross" />
            </Radix.Close>
          </div>
          {description && (
            <Radix.Description asChild>
              <div className={css.description}>{description}</div>
            </Radix.Description>
          )}
          {children && <div className={css.body}>{children}</div>}
          {footer && <div className={css.foot}>{footer}</div>}
        </Radix.Content>
      </Radix.Portal>
    </Radix.Root>
  );
}

export interface ConfirmDialogProps {
  readonly open: boolean;
  readonly onOpenChange: (open: boolean) => void;
  readonly title: ReactNode;
  readonly description: ReactNode;
  /** The verb, `Restart redis-1`: never "OK". */
  readonly confirmLabel: string;
  readonly onConfirm: () => void;
  readonly danger?: boolean;
}

/** Asks before something is done. The focus begins on Cancel, so that Enter out of habit does nothing. */
export function ConfirmDialog(props: ConfirmDialogProps) {
  const { open, onOpenChange, title, description, confirmLabel, onConfirm, danger = false } = props;
  const cancel = useRef<HTMLButtonElement>(null);
  useFocusBack(open);
  return (
    <Alert.Root open={open} onOpenChange={onOpenChange}>
      <Alert.Portal>
        <Alert.Overlay className={css.scrim} />
        <Alert.Content
          className={css.dialog}
          onOpenAutoFocus={(event) => {
            event.preventDefault();
            cancel.current?.focus();
          }}
        >
          <div className={css.head}>
            <Alert.Title className={css.title}>{title}</Alert.Title>
          </div>
          <Alert.Description asChild>
            <div className={css.description}>{description}</div>
          </Alert.Description>
          <div className={css.foot}>
            <Alert.Cancel asChild>
              <Button ref={cancel}>Cancel</Button>
            </Alert.Cancel>
            <Alert.Action asChild>
              <Button variant={danger ? "danger" : "primary"} onClick={onConfirm}>
                {confirmLabel}
              </Button>
            </Alert.Action>
          </div>
        </Alert.Content>
      </Alert.Portal>
    </Alert.Root>
  );
}
