//go:build unix

package manifest

import "syscall"

const openWithoutWaiting = syscall.O_NONBLOCK
