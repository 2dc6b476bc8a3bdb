package databasetest

import (
	"errors"
	"syscall"
)

func asPostgres(string) (*syscall.SysProcAttr, error) {
	return nil, errors.New("no user of its own to run PostgreSQL as")
}
