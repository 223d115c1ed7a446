import ChildProcess
import Diagnostics
import Glibc
import SecretMemory

/// The words of a share as a QR code for the terminal, made by `qrencode` (Debian: qrencode), which gets them through a
/// pipe and gives the picture back through another one.
///
/// Nothing of it touches a disk: no file is named, the program has no environment and leaves no core. The code holds the
/// words in capitals, for which QR codes have a denser form; `hdsctl` takes them as they come out of a scanner. Low error
/// correction: what is scanned from a screen is whole, and a smaller code fits on more terminals.
enum ShareCode {
    /// Never by PATH: whoever is found there gets the share.
    static let program = "/usr/bin/qrencode"
    private static let maximumCount = 64 << 10

    /// Lines of half blocks with colours of their own, so that light stays light on every terminal.
    static func picture(of words: borrowing SecretBytes) throws(DiagnosedError) -> SecretBytes {
        guard access(program, X_OK) == 0 else {
            throw unusable("no program \(program)", "apt-get install qrencode, or leave --qr out")
        }
        // The program's copy of the words is not to be left in a core either.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        let capitals = SecretBytes(count: words.count) { target in
            words.withUnsafeBytes { words in
                for (index, octet) in words.enumerated() {
                    target[index] = (0x61...0x7A).contains(octet) ? octet & ~0x20 : octet
                }
            }
        }
        var ending: Child.Ending?
        let picture = SecretBytes(capacity: maximumCount) { buffer in
            let arguments = ["--type=ANSIUTF8", "--level=L", "--margin=4", "--output=-"]
            var count = 0
            ending = capitals.withUnsafeBytes { capitals in
                Child(program: program, arguments: arguments)?.run(input: capitals, deadline: .now + .seconds(20)) {
                    more in
                    guard more.count < buffer.count - count else { return false }
                    UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).copyMemory(from: more)
                    count += more.count
                    return true
                }
            }
            return count
        }
        guard ending == .exit(0), picture.count > 0 else {
            throw unusable(ending.map { "it ended with \($0)" } ?? "it does not start", nil)
        }
        return picture
    }

    private static func unusable(_ found: String, _ hint: String?) -> DiagnosedError {
        DiagnosedError(
            "qr-code", fault: .configuration, "no QR code of a share can be made", expected: "a working \(program)",
            found: found, hint: hint ?? "leave --qr out: the words alone are the whole share")
    }
}
