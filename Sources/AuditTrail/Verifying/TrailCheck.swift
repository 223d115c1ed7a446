package import Diagnostics

extension AuditTrail {
    /// What the owner of a trail finds when it reads it again as an auditor would.
    package enum Finding: Sendable {
        case holds(VerificationReport)
        /// Something in the folder is not what was written. `isAtEnd`: in the segment that is appended to, so that what
        /// is kept from here on would not be provable.
        case broken(DiagnosedError, isAtEnd: Bool)
        /// It could not be read: nothing is known.
        case unknown(DiagnosedError)
    }

    /// Reads the whole folder, believing the own key and those before it. May take minutes; blocks nobody who keeps.
    ///
    /// While it reads, segments may be closed, begun and deleted; so a break counts only when a second look finds one.
    package func check() async -> Finding {
        let first = await look(isAtEnd: false)
        guard case .broken = first else { return first }
        let second = await look(isAtEnd: false)
        guard case .broken(let error, _) = second else { return second }
        for _ in 0..<2 {
            guard case .broken = await look(isAtEnd: true) else { return second }
        }
        return .broken(error, isAtEnd: true)
    }

    private func look(isAtEnd: Bool) async -> Finding {
        let (folder, trust, kept) = (reader.folder.path, ownTrust, state.lastSeq)
        do {
            return try await onThread {
                let verifier = TrailVerifier(folder: folder, trust: trust)
                let report = isAtEnd ? try verifier.verifyEnd() : try verifier.verify()
                guard report.last >= kept else {
                    throw DiagnosedError(
                        .auditRolledBack, fault: .store, "the trail ends before what was kept in it",
                        expected: "records up to \(kept)", found: "records up to \(report.last)")
                }
                return .holds(report)
            }
        } catch let error as DiagnosedError {
            return error.breaksTrail ? .broken(error, isAtEnd: isAtEnd) : .unknown(error)
        } catch {
            return .unknown(
                DiagnosedError(
                    .auditUnreadable, fault: .store, "the trail can not be read", found: "\(type(of: error))"))
        }
    }
}

extension DiagnosedError {
    /// Whether it says that a trail is not what was written, and not only that it could not be read.
    package var breaksTrail: Bool {
        let breaks: Set<Code> = [
            .auditLineMalformed, .auditChainBroken, .auditSequenceBroken, .auditSegmentMissing, .auditHeadInvalid,
            .auditRootInvalid, .auditWitnessContradicts, .auditTrailForeign, .auditRolledBack, .attestationKeyUnknown,
            .attestationTypeWrong, .attestationInvalid,
        ]
        return breaks.contains(code)
    }
}

extension TrailVerifier {
    /// The last segment alone, behind the root of the one before.
    func verifyEnd() throws -> VerificationReport {
        let segments = try folder.segments()
        guard let last = segments.last else {
            throw DiagnosedError(
                .auditSegmentMissing, fault: .client, "\(folder.path) holds no segment of an audit trail")
        }
        let roots = try RootChain(RootsFile(path: folder.rootsPath), node: last.node, trust: trust)
        var walker = try Self.walker(from: last, roots, isStrict: true)
        _ = try Self.walk(last, in: folder, &walker)
        var report = VerificationReport()
        (report.node, report.first, report.last) = (last.node, last.first, walker.seq)
        return report
    }
}
