import ArgumentParser
import Diagnostics
import Escrow
import Glibc
import SecretMemory

/// Where the words of shares come from and go to: the terminal, or a descriptor of whoever starts this program.
struct WordsOptions: ParsableArguments {
    @Option(help: "Take or give the words, one share in a line, by this descriptor (a pipe) instead of the terminal.")
    var wordsFD: Int32?

    /// Asks for one share.
    func read(_ prompt: String) throws -> Share {
        guard let wordsFD else {
            return try (try Terminal.secret(prompt)).withUnsafeBytes { words throws(DiagnosedError) in
                try Share(words: words)
            }
        }
        try checkIsNoFile(wordsFD)
        let line = SecretBytes(capacity: 1024) { buffer in
            var count = 0
            // One at a time: the next share's line is not ours.
            while count < buffer.count, Glibc.read(wordsFD, buffer.baseAddress! + count, 1) == 1 {
                if buffer[count] == UInt8(ascii: "\n") { return count }
                count += 1
            }
            return count
        }
        return try line.withUnsafeBytes { words throws(DiagnosedError) in try Share(words: words) }
    }

    /// As many shares as the first one says are needed; one that is typed wrong is asked for again at a terminal.
    func readEnough() throws -> [Share] {
        var shares: [Share] = []
        while shares.isEmpty || shares.count < shares[0].memberThreshold {
            let place = shares.first.map { "\(shares.count + 1) of \($0.memberThreshold)" } ?? "1"
            do {
                let share = try read("Words of share \(place): ")
                if let first = shares.first, !share.isOfSameSecret(as: first) {
                    throw DiagnosedError(
                        .sharesMismatch, fault: .client, "this share is of another escrow than the first one")
                }
                guard !shares.contains(where: { $0.memberIndex == share.memberIndex }) else {
                    throw DiagnosedError(
                        .sharesMismatch, fault: .client, "share \(share.memberIndex + 1) was given already",
                        hint: "give another holder's")
                }
                shares.append(share)
            } catch let error as DiagnosedError where wordsFD == nil && error.code != .passphraseUnreadable {
                complain("hdsctl: \(error)")
            }
        }
        return shares
    }

    /// Shows each share alone, until its holder has written it down; with `codes` as a QR code after its words.
    func give(_ shares: [Share], codes: Bool = false) throws {
        for share in shares {
            guard let wordsFD else {
                let title = "Share \(share.memberIndex + 1) of \(shares.count); any \(share.memberThreshold) recover."
                try Terminal.showAlone(
                    title: title, share.words(),
                    "Write the words down on paper, compare them, then press enter: they are not shown again. ")
                guard codes else { continue }
                let picture = try ShareCode.picture(of: share.words())
                try Terminal.waitForRoom(lines: picture.lineCount)
                try Terminal.showAlone(
                    title: title, picture,
                    "The same share as a QR code, for a scanner that is on no network. Press enter: it is not shown again. "
                )
                continue
            }
            try checkIsNoFile(wordsFD)
            let isWritten = share.words().withUnsafeBytes { words in
                write(wordsFD, words.baseAddress, words.count) == words.count && write(wordsFD, "\n", 1) == 1
            }
            guard isWritten else { throw Self.unusable(wordsFD, String(cString: strerror(errno))) }
        }
    }

    private func checkIsNoFile(_ descriptor: Int32) throws(DiagnosedError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw Self.unusable(descriptor, String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT == S_IFIFO || status.st_mode & S_IFMT == S_IFSOCK else {
            throw Self.unusable(descriptor, "a file or a device")
        }
    }

    private static func unusable(_ descriptor: Int32, _ found: String) -> DiagnosedError {
        DiagnosedError(
            .shareMalformed, fault: .client, "descriptor \(descriptor) can not carry the words of shares",
            expected: "a pipe: words never touch a disk", found: found)
    }
}

extension SecretBytes {
    /// Of a picture.
    fileprivate var lineCount: Int {
        withUnsafeBytes { octets in octets.count { $0 == UInt8(ascii: "\n") } }
    }
}

extension Share {
    fileprivate func isOfSameSecret(as other: Share) -> Bool {
        identifier == other.identifier && memberThreshold == other.memberThreshold
    }
}

extension Terminal {
    private static func forShares() throws(DiagnosedError) -> Int32 {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY)
        guard terminal >= 0 else {
            throw DiagnosedError(
                .passphraseUnreadable, fault: .client, "there is no terminal to show shares on",
                hint: "run it in a terminal, or give --words-fd")
        }
        return terminal
    }

    /// Asks for a larger terminal, once, where a QR code of so many lines would not fit: nobody scans half of one.
    static func waitForRoom(lines: Int) throws(DiagnosedError) {
        let terminal = try forShares()
        defer { close(terminal) }
        var size = winsize()
        // Two rows of modules stand in a line, one module in a column; title and question need five lines.
        guard ioctl(terminal, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0,
            Int(size.ws_row) < lines + 5 || Int(size.ws_col) < lines * 2
        else { return }
        let text = Array(
            ("The QR code needs \(lines + 5) lines of \(lines * 2) columns; this terminal has \(size.ws_row) of "
                + "\(size.ws_col). Make it larger, or its letters smaller, then press enter. ").utf8)
        _ = write(terminal, text, text.count)
        var octet: UInt8 = 0
        while read(terminal, &octet, 1) == 1, octet != UInt8(ascii: "\n") {}
    }

    /// Shows a secret on the terminal alone, waits for the enter key, and wipes screen and scroll-back.
    static func showAlone(
        title: String, _ secret: consuming SecretBytes, _ question: String
    ) throws(DiagnosedError) {
        let terminal = try forShares()
        defer { close(terminal) }
        func say(_ text: String) {
            let octets = Array(text.utf8)
            _ = write(terminal, octets, octets.count)
        }
        let wiped = "\u{1B}[2J\u{1B}[3J\u{1B}[H"
        say("\(wiped)\(title)\n\n")
        secret.withUnsafeBytes { octets in
            // A terminal takes a few thousand octets at a time.
            var rest = octets[...]
            while !rest.isEmpty {
                let count = write(terminal, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }
        say("\n\n\(question)")
        var octet: UInt8 = 0
        while read(terminal, &octet, 1) == 1, octet != UInt8(ascii: "\n") {}
        say(wiped)
    }
}
