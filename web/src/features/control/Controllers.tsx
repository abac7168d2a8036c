import { CircleCheck, Download, Plus, Trash2, TriangleAlert, Upload } from 'lucide-react'
import { useCallback, useMemo, useRef, useState } from 'react'
import { useStore } from 'zustand'
import { notify } from '../../app'
import { addProfile, freeName, importProfile, profileFile, removeProfile, renameProfile } from '../../engine/profiles'
import { t } from '../../messages'
import { Button, IconButton } from '../../ui/Button'
import { Select } from '../../ui/controls'
import { TextInput } from '../../ui/fields'
import { Note, Part } from '../settings/parts'
import { saveBlob } from '../settings/report'
import { controller, midi, setMapping } from './controller'
import { MappingRow } from './MappingRow'
import { allTargets, targetOf } from './targets'

const m = t.controllers

function Devices() {
  const { state, inputs } = useStore(midi.store)
  if (state === 'on') {
    return (
      <ul className="m-0 flex list-none flex-col gap-1 p-0 text-12" data-testid="midi-devices">
        {inputs.length === 0 && <li className="text-fg2">{m.states.on}</li>}
        {inputs.map((name) => (
          <li key={name} className="flex items-center gap-2">
            <CircleCheck size={14} className="text-ok" aria-hidden />
            {name}
          </li>
        ))}
      </ul>
    )
  }
  return (
    <div className="flex flex-wrap items-center gap-3">
      <p className="flex min-w-40 flex-1 items-start gap-2 text-12 text-fg2">
        {(state === 'denied' || state === 'missing') && (
          <TriangleAlert size={14} className="mt-px shrink-0 text-warn" aria-hidden />
        )}
        {m.states[state]}
      </p>
      {state !== 'missing' && (
        <Button
          variant="outline"
          className="max-md:h-11"
          disabled={state === 'asking'}
          onClick={() => void midi.start()}
        >
          {m.connect}
        </Button>
      )}
    </div>
  )
}

function Profiles() {
  const state = useStore(controller.store)
  const picker = useRef<HTMLInputElement>(null)
  const [problem, setProblem] = useState<string | null>(null)
  const load = async (file: File) => {
    setProblem(null)
    try {
      controller.setProfiles(importProfile(controller.store.getState(), await file.text()))
    } catch {
      setProblem(m.importFailed(file.name))
    }
  }
  const save = () =>
    saveBlob(new Blob([profileFile(state)], { type: 'application/json' }), `${state.active}.scope-mappings.json`)
  return (
    <>
      <div className="flex flex-wrap items-center gap-2">
        <div className="w-40">
          <Select
            label={m.profile}
            testId="map-profile"
            value={state.active}
            options={Object.keys(state.profiles).map((name) => ({ value: name, label: name }))}
            onChange={(active) => controller.setProfiles({ ...state, active })}
          />
        </div>
        <TextInput
          key={state.active}
          aria-label={m.profileName}
          defaultValue={state.active}
          className="w-32"
          onBlur={(event) => {
            const name = event.target.value.trim()
            if (name && name !== state.active) controller.setProfiles(renameProfile(state, name))
          }}
        />
        <IconButton
          label={m.newProfile}
          className="max-md:h-11 max-md:w-11"
          onClick={() => controller.setProfiles(addProfile(state, freeName(state, m.nextProfile)))}
        >
          <Plus size={14} aria-hidden />
        </IconButton>
        <IconButton
          label={m.removeProfile}
          className="max-md:h-11 max-md:w-11"
          onClick={() => {
            const before = { active: state.active, profiles: state.profiles }
            controller.setProfiles(removeProfile(state))
            notify(m.removedProfile(state.active), {
              label: t.palette.undo,
              run: () => controller.setProfiles(before),
            })
          }}
        >
          <Trash2 size={14} aria-hidden />
        </IconButton>
        <IconButton label={m.exportProfile} className="max-md:h-11 max-md:w-11" onClick={save}>
          <Download size={14} aria-hidden />
        </IconButton>
        <IconButton label={m.importProfile} className="max-md:h-11 max-md:w-11" onClick={() => picker.current?.click()}>
          <Upload size={14} aria-hidden />
        </IconButton>
        <input
          ref={picker}
          type="file"
          accept=".json,application/json"
          aria-label={m.importProfile}
          data-testid="map-import"
          tabIndex={-1}
          className="sr-only"
          onChange={(event) => {
            const [file] = event.target.files ?? []
            if (file) void load(file)
            event.target.value = ''
          }}
        />
      </div>
      {problem && (
        <p role="alert" className="text-12 text-warn">
          {problem}
        </p>
      )}
    </>
  )
}

/** Maps something without looking for it on the page. */
function Add() {
  const learning = useStore(controller.store, (state) => state.learning)
  const options = useMemo(() => allTargets().map(({ id, label, group }) => ({ value: id, label, hint: group })), [])
  const [target, setTarget] = useState(options[0]?.value ?? '')
  const waiting = learning !== null && learning === target
  return (
    <div className="flex flex-wrap items-center gap-2">
      <div className="min-w-44 flex-1">
        <Select label={m.target} value={target} options={options} onChange={setTarget} />
      </div>
      <Button
        variant={waiting ? 'danger' : 'outline'}
        className="max-md:h-11"
        aria-pressed={waiting}
        data-testid="map-learn"
        onClick={() => controller.learn(waiting ? null : target)}
      >
        {waiting ? m.move : m.learn}
      </Button>
      <span role="status" className="sr-only">
        {waiting ? m.moveFor(targetOf(target)?.label ?? '') : ''}
      </span>
    </div>
  )
}

export function Controllers() {
  const state = useStore(controller.store)
  const stop = useCallback((node: HTMLDivElement | null) => (node ? () => controller.learn(null) : undefined), [])
  const mappings = state.profiles[state.active] ?? []
  return (
    <div ref={stop}>
      <Part title={m.devices}>
        <Devices />
      </Part>
      <Part title={m.mappings}>
        <Note>{m.intro}</Note>
        <Profiles />
        <div className="flex flex-wrap items-center gap-2">
          <Button variant="primary" className="max-md:h-11" onClick={() => setMapping(true)}>
            {m.mapMode}
          </Button>
          <span className="text-12 text-fg3">{m.orPick}</span>
        </div>
        <Add />
        <ul className="m-0 flex list-none flex-col gap-2 p-0" data-testid="mappings">
          {mappings.map((mapping) => (
            <MappingRow key={mapping.id} mapping={mapping} />
          ))}
        </ul>
        {mappings.length === 0 && <p className="text-12 text-fg3">{m.none}</p>}
      </Part>
    </div>
  )
}
