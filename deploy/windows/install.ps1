#Requires -Version 5.1
<#
.SYNOPSIS
Installs scope-agent from this folder: its own environment, a service at boot, no internet.
.DESCRIPTION
Run as administrator, from a USB stick or a share. Over an older version it upgrades, and the older one runs again when
the new one does not come up healthy. Nothing outside of the three folders, the service and its event source is changed;
the firewall is not touched.
.EXAMPLE
powershell -ExecutionPolicy Bypass -File install.ps1 -Config D:\widefield-1.toml
#>
[CmdletBinding()]
param(
    # The configuration to install; without it the one that is there, or the example to be filled in.
    [string]$Config,
    # Python of the microscope's computer, installed for all users; without it what the launcher py finds.
    [string]$Python,
    # Account of the service, such as DOMAIN\svc-scope or DOMAIN\gmsa$; without it the one that it has, at first a
    # virtual account of its own.
    [string]$Account,
    # File that holds the password of that account.
    [string]$PasswordFile,
    # Where the program lies; without it where it lay before, at first below Program Files.
    [string]$InstallDir,
    # Where config and state lie; without it where they lay before, at first below ProgramData.
    [string]$DataDir
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$bundle = $PSScriptRoot
$registered = 'HKLM:\SYSTEM\CurrentControlSet\Services\ScopeAgent'

function Stop-WithMessage([string]$Message) {
    Write-Host "scope-agent: $Message"
    exit 1
}

function Invoke-Program([string]$Program, [string[]]$Arguments) {
    # Standard error of a native program must not end the script; its exit code says whether it failed, and one that
    # cannot be started (a virus scanner took it) leaves the code of the program before.
    $ErrorActionPreference = 'Continue'
    $global:LASTEXITCODE = 1
    try { & $Program @Arguments 2>&1 | ForEach-Object { Write-Host "$_" } } catch { Write-Host "$_" }
    return $LASTEXITCODE
}

function Read-Python([string]$Program, [string[]]$Arguments) {
    # The text that it prints as `ascii()`: what a pipe does to other letters depends on two code pages. '' when it fails.
    $ErrorActionPreference = 'Continue'
    $global:LASTEXITCODE = 1
    try { $said = & $Program @Arguments 2>$null } catch { return '' }
    if ($LASTEXITCODE -ne 0) { return '' }
    $quoted = "$said".Trim()
    return [Regex]::Unescape($quoted.Substring(1, $quoted.Length - 2))
}

function Get-FullPath([string]$Path) {
    return $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
}

function Find-InstallDir {
    # Where the service runs from, if this script put it there. A PowerShell of 32 bit has another Program Files.
    $place = if ($env:ProgramW6432) { $env:ProgramW6432 } else { $env:ProgramFiles }
    $place = Join-Path $place 'scope-agent'
    $service = Get-ItemProperty -LiteralPath $registered -ErrorAction SilentlyContinue
    if ($service -and $service.ImagePath -match '([A-Za-z]:\\[^":]*)\\[^\\":]+\\service_host\.py') {
        $found = $Matches[1]
        if (Test-Path -LiteralPath (Join-Path $found 'scope-agent.cmd')) { return $found }
    }
    return $place
}

function Test-Administrator {
    $me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
    return $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Find-Python([string]$Version) {
    if ($Python) { return $Python }
    $launcher = Get-Command 'py.exe' -ErrorAction SilentlyContinue
    if (-not $launcher) { Stop-WithMessage "Python $Version is not here: install it for all users, or name it with -Python" }
    $found = Read-Python $launcher.Source @("-$Version", '-c', 'import sys; print(ascii(sys.executable))')
    if (-not $found) { Stop-WithMessage "Python $Version is not here: install it for all users, or name it with -Python" }
    return $found
}

function Restore-Config {
    # The version before runs with the configuration that it knows.
    if (-not (Test-Path -LiteralPath $configBefore)) { return }
    Move-Item -Force -LiteralPath $configBefore -Destination $configFile
    Restart-Service -Name 'ScopeAgent' -ErrorAction SilentlyContinue
}

if (-not (Test-Administrator)) { Stop-WithMessage 'run this as administrator' }
# What other software put there for its own Python must not lead this one astray.
$env:PYTHONHOME = $null
$env:PYTHONPATH = $null
# What Python writes to this script is read in this code page.
$env:PYTHONIOENCODING = 'cp{0}:backslashreplace' -f [Console]::OutputEncoding.CodePage
$about = Get-Content -Raw -Encoding UTF8 -LiteralPath (Join-Path $bundle 'BUNDLE.json') | ConvertFrom-Json
$interpreter = Find-Python $about.python
# Windows PowerShell 5.1 loses double quotes in arguments of programs: there are none.
$version = Read-Python $interpreter @('-c', 'import sys; print(ascii(chr(46).join(map(str, sys.version_info[:2]))))')
if (-not $version) { Stop-WithMessage "$interpreter cannot be started: name python.exe itself with -Python" }
if ($version -ne $about.python) { Stop-WithMessage "this bundle is for Python $($about.python), $interpreter is $version" }
$platform = Read-Python $interpreter @('-c', 'import sysconfig; print(ascii(sysconfig.get_platform()))')
if ($platform.Replace('-', '_') -ne $about.platform) {
    Stop-WithMessage "this bundle is for $($about.platform), $interpreter is $platform"
}
# Of an environment, too, the service starts the Python that it was made with; one of the Store belongs to its users.
$base = Read-Python $interpreter @('-c', 'import sys; print(ascii(sys.base_prefix))')
if ($base -like "$env:SystemDrive\Users\*" -or $base -like '*\WindowsApps\*') {
    Stop-WithMessage "$base belongs to one user, the service cannot start it: install Python for all users"
}

$installed = Find-InstallDir
$InstallDir = Get-FullPath $(if ($InstallDir) { $InstallDir } else { $installed })
$dataNote = Join-Path $InstallDir 'data-dir.txt'
if (-not $DataDir) {
    $DataDir = Join-Path $env:ProgramData 'scope-agent'
    # Also where the program moves to another folder: what waits to be delivered lies where it lay.
    $noted = Join-Path $installed 'data-dir.txt'
    if (Test-Path -LiteralPath $noted) {
        $said = Get-Content -Raw -Encoding UTF8 -LiteralPath $noted
        $DataDir = "$said".Trim()
    }
}
$DataDir = Get-FullPath $DataDir
$configFile = Join-Path $DataDir 'config.toml'
$configBefore = "$configFile.before"
New-Item -ItemType Directory -Force -Path $InstallDir, $DataDir | Out-Null
Remove-Item -Force -LiteralPath $configBefore -ErrorAction SilentlyContinue
if ($Config) {
    if (-not (Test-Path -LiteralPath $Config)) { Stop-WithMessage "$Config is not there: name the configuration" }
    $given = Get-Item -LiteralPath $Config
    if ($given.FullName -ne $configFile) {
        if (Test-Path -LiteralPath $configFile) { Copy-Item -Force -LiteralPath $configFile -Destination $configBefore }
        Copy-Item -Force -LiteralPath $given.FullName -Destination $configFile
    }
}
if (-not (Test-Path -LiteralPath $configFile)) {
    Copy-Item -LiteralPath (Join-Path $bundle 'config.example.toml') -Destination $configFile
    Stop-WithMessage "fill in $configFile, then run this again"
}

# A folder of its own for each installation: the old version stays untouched until the new one is healthy.
$environment = Join-Path $InstallDir ('{0}-{1:yyyyMMddHHmmss}' -f $about.scope_agent, (Get-Date))
$program = Join-Path $environment 'Scripts\scope-agent.exe'
$failed = Invoke-Program $interpreter @('-m', 'venv', $environment)
if ($failed -eq 0) {
    $failed = Invoke-Program (Join-Path $environment 'Scripts\python.exe') @(
        '-m', 'pip', '--isolated', 'install', '--quiet', '--no-index', '--no-deps', '--require-hashes', '--disable-pip-version-check',
        '--find-links', (Join-Path $bundle 'wheels'), '-r', (Join-Path $bundle 'requirements.txt'))
}
if ($failed -ne 0) {
    Remove-Item -Recurse -Force -LiteralPath $environment -ErrorAction SilentlyContinue
    Restore-Config
    Stop-WithMessage 'the installation failed; what was there before is as it was'
}

$arguments = @('service', 'install', '-c', $configFile)
if ($Account) { $arguments += @('--account', $Account) }
if ($PasswordFile) { $arguments += @('--password-file', $PasswordFile) }
$failed = Invoke-Program $program $arguments
if ($failed -ne 0) {
    # The command of the service is that of the version before, if there was one.
    $service = Get-ItemProperty -LiteralPath $registered -ErrorAction SilentlyContinue
    if (-not ($service -and $service.ImagePath.Contains($environment))) {
        Remove-Item -Recurse -Force -LiteralPath $environment -ErrorAction SilentlyContinue
        Restore-Config
    }
    Stop-WithMessage 'the new version is not installed'
}

# Two versions are kept, this one and the one before; in a folder of somebody's choice nothing else is ours.
Get-ChildItem -Directory -LiteralPath $InstallDir | Where-Object { $_.Name -match '^\d[^-]*-\d{14}$' } |
    Sort-Object -Property CreationTime -Descending | Select-Object -Skip 2 |
    Where-Object { $_.FullName -ne $environment } | Remove-Item -Recurse -Force -ErrorAction SilentlyContinue
[Environment]::SetEnvironmentVariable('SCOPE_AGENT_CONFIG', $configFile, 'Machine')
# What people type: the same name after each upgrade, for the version that the service runs.
$command = Join-Path $InstallDir 'scope-agent.cmd'
Copy-Item -Force -LiteralPath (Join-Path $bundle 'uninstall.ps1') -Destination $InstallDir
Set-Content -Encoding UTF8 -LiteralPath $dataNote -Value $DataDir
# From where it lies itself: the folder may have a name that a command file cannot hold.
Set-Content -Encoding ASCII -LiteralPath $command -Value ('@"%~dp0{0}\Scripts\scope-agent.exe" %*' -f (Split-Path -Leaf $environment))
Remove-Item -Force -LiteralPath $configBefore -ErrorAction SilentlyContinue
Invoke-Program $program @('check', '-c', $configFile, '--as-daemon') | Out-Null
Write-Host "scope-agent $($about.scope_agent) is installed; the program: $command"
exit 0
