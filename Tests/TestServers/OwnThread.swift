import Foundation
import Glibc

/// Runs what blocks (a wait for another process, a socket with blocking calls) on a thread of its own.
///
/// The tasks of all tests share as many threads as the machine has cores. Who blocks one of them, while another task has
/// to do what is waited for, can stop them all.
package func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
            // The threads of tasks block all signals. A program that inherits that is deaf, also to its time limit.
            var none = sigset_t()
            sigemptyset(&none)
            pthread_sigmask(SIG_SETMASK, &none, nil)
            continuation.resume(with: Result { try body() })
        }
    }
}
