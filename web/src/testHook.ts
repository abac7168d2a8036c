/** Counts React's commits when a test asks for it; React looks for this hook as it starts, so this module comes first. */

declare global {
  interface Window {
    __scopeCommits?: number
    __REACT_DEVTOOLS_GLOBAL_HOOK__?: unknown
  }
}

if (localStorage.getItem('scopeTest') === '1') {
  window.__scopeCommits = 0
  window.__REACT_DEVTOOLS_GLOBAL_HOOK__ = {
    supportsFiber: true,
    renderers: new Map(),
    inject: () => 1,
    checkDCE: () => undefined,
    onScheduleFiberRoot: () => undefined,
    onPostCommitFiberRoot: () => undefined,
    onCommitFiberUnmount: () => undefined,
    onCommitFiberRoot: () => {
      window.__scopeCommits = (window.__scopeCommits ?? 0) + 1
    },
  }
}

export {}
