/** A clock that the browser does not slow down in a hidden page. */
let timer: ReturnType<typeof setInterval> | undefined

addEventListener('message', (event: MessageEvent<number>) => {
  clearInterval(timer)
  if (event.data > 0) timer = setInterval(() => postMessage(0), event.data)
})
