import ArgumentParser
import Diagnostics

/// The operator's tool; each subcommand is a file of its own.
@main struct HDSControl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hdsctl",
        abstract: "Set up and look after a hybrid data security appliance.",
        discussion: """
            Exit codes: 0 done; 64 wrong usage; 65 the input is not what it should be; 69 something remote does not \
            answer; 70 a defect of this program; 74 the disk or the database failed; 78 a file, its content or its \
            permissions are not as they must be. Errors go to standard error, one line each: what happened, what was \
            expected, what was found, what to do.
            """,
        version: Release.version,
        subcommands: [
            SetupCommand.self, DoctorCommand.self, StatusCommand.self,
            MasterKeyCommand.self, AttestationKeyCommand.self, AuditCommand.self, OfficerCommand.self,
            PolicyCommand.self, ControlCommand.self, ExplainCommand.self, AccessCommand.self,
            SearchCommand.self, CalendarCommand.self,
            UserCommand.self, DirectoryCommand.self, ClientsCommand.self,
            FreezeCommand.self, EraseCommand.self, HoldCommand.self, ExportMetadataCommand.self, MigrateCommand.self,
            EscrowCommand.self, BackupCommand.self, RestoreCommand.self, CatalogueCommand.self,
            RollbackCommand.self, FailoverCommand.self, NodeCommand.self, AlertCommand.self,
            DrillCommand.self, JournalTrialCommand.self, EDiscoveryCommand.self,
            TransparencyCommand.self,
        ])
}
