//go:build unix

package wallet

import (
	"os"
	"os/exec"
	"syscall"
)

const nobody = 65534

// asOrdinaryUser lets a command run as a user whom rights hold back; folder is
// one that this user may read.
func asOrdinaryUser(c *exec.Cmd, folder string) error {
	if os.Getuid() != 0 {
		return nil
	}
	if err := os.Chmod(folder, 0o755); err != nil {
		return err
	}
	if err := copyProgram(c, folder); err != nil {
		return err
	}
	c.Dir = folder
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return nil
}
