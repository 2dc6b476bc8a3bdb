// Compiles Registry.sol to Registry.abi, Registry.bin (init code) and Registry.bin-runtime, in the folder named by the
// first argument, else beside this file. The same source gives the same bytes on every machine: the compiler's version
// is exact, and no metadata (which hashes paths and comments) is appended.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import solc from 'solc'

const here = import.meta.dirname
const folder = process.argv[2] ?? here
const input = {
  language: 'Solidity',
  sources: { 'Registry.sol': { content: readFileSync(join(here, 'Registry.sol'), 'utf8') } },
  settings: {
    evmVersion: 'paris', // runs on old networks too: later targets use opcodes that these lack
    viaIR: true,
    optimizer: { enabled: true, runs: 1_000_000 },
    metadata: { bytecodeHash: 'none', appendCBOR: false },
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } }
  }
}
const output = JSON.parse(solc.compile(JSON.stringify(input)))
if (output.errors) {
  for (const e of output.errors) process.stderr.write(e.formattedMessage)
  process.exit(1)
}
const { abi, evm } = output.contracts['Registry.sol'].Registry
writeFileSync(join(folder, 'Registry.abi'), JSON.stringify(abi, null, 1) + '\n')
writeFileSync(join(folder, 'Registry.bin'), evm.bytecode.object)
writeFileSync(join(folder, 'Registry.bin-runtime'), evm.deployedBytecode.object)
