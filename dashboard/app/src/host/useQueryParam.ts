import { useCallback } from "react";
import { useSearchParams } from "wouter";

/** One parameter of the URL's query; set to null it is left out. Setting it is no step in the browser's history. */
export function useQueryParam(name: string): readonly [string | null, (value: string | null) => void] {
  const [params, setParams] = useSearchParams();
  const set = useCallback(
    (value: string | null) =>
      setParams(
        (before) => {
          const after = new URLSearchParams(before);
          if (value === null) after.delete(name);
          else after.set(name, value);
          return after;
        },
        { replace: true },
      ),
    [name, setParams],
  );
  return [params.get(name), set];
}
