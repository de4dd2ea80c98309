/** The title of the page, which the browser shows on its tab and in its history. */
import { useEffect } from "preact/hooks";

/** @param {...string} parts of the title; the first says most */
export function useTitle(...parts) {
  const title = [...parts, "Audio Studio"].join(" - ");
  useEffect(() => {
    document.title = title;
  }, [title]);
}
