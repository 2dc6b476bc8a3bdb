package main

const terminalIn, terminalOut = "CONIN$", "CONOUT$"
