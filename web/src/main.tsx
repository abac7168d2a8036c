import './testHook'
import '@fontsource-variable/inter'
import '@fontsource-variable/jetbrains-mono'
import './styles.css'

const root = document.getElementById('root')
if (!root) throw new Error('The page has no root element')

if (location.pathname === '/output') {
  void import('./features/output/boot').then(({ bootOutput }) => bootOutput(root))
} else {
  void import('./boot').then(({ bootPerform }) => bootPerform(root))
}
