import { Component, type ErrorInfo, type ReactNode } from "react";
import { Button } from "../ui/Button.tsx";
import css from "./ErrorBoundary.module.css";

interface Props {
  readonly children: ReactNode;
  /** Of what has failed: "the Fleet view". */
  readonly what: string;
}

interface State {
  readonly error: Error | null;
}

/** What fails inside stays inside; all around it goes on. React has no way to say this but a class. */
export class ErrorBoundary extends Component<Props, State> {
  override state: State = { error: null };

  static getDerivedStateFromError(error: unknown): State {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  override componentDidCatch(error: unknown, info: ErrorInfo): void {
    // biome-ignore lint/suspicious/noConsole: the only place where the stack can be read
    console.error(`Fleetcast: ${this.props.what} has failed`, error, info.componentStack);
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <div className={css.failed} role="alert">
        <h1 tabIndex={-1}>Something on this page has failed</h1>
        <p>
          It is {this.props.what}; the rest goes on, and nothing has been done to any container by it. Try again, or
          reload the page. Where it comes back, this belongs into a report:
        </p>
        <pre>{error.message || error.name}</pre>
        <div className={css.buttons}>
          <Button variant="primary" onClick={() => this.setState({ error: null })}>
            Try again
          </Button>
          <Button onClick={() => location.reload()}>Reload the page</Button>
        </div>
      </div>
    );
  }
}
