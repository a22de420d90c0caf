//go:build !unix

package manifest

const openWithoutWaiting = 0 // there are no FIFOs among files
