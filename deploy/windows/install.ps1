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
    [string]$InstallDir = (Join-Path $env:ProgramFiles 'scope-agent'),
    # Where config and state lie; without it where they lay before, at first below ProgramData.
    [string]$DataDir
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
$bundle = $PSScriptRoot

function Stop-WithMessage([string]$Message) {
    Write-Host "scope-agent: $Message"
    exit 1
}

function Invoke-Program([string]$Program, [string[]]$Arguments) {
    # Standard error of a native program must not end the script; its exit code says whether it failed.
    $ErrorActionPreference = 'Continue'
    & $Program @Arguments 2>&1 | ForEach-Object { Write-Host "$_" }
    return $LASTEXITCODE
}

function Test-Administrator {
    $me = [Security.Principal.WindowsPrincipal][Security.Principal.WindowsIdentity]::GetCurrent()
    return $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Find-Python([string]$Version) {
    if ($Python) { return $Python }
    $launcher = Get-Command 'py.exe' -ErrorAction SilentlyContinue
    if (-not $launcher) { Stop-WithMessage "Python $Version is not here: install it for all users, or name it with -Python" }
    $found = & $launcher.Source "-$Version" -c 'import sys; print(sys.executable)'
    if ($LASTEXITCODE -ne 0) { Stop-WithMessage "Python $Version is not here: install it for all users, or name it with -Python" }
    return "$found".Trim()
}

function Restore-Config {
    # The version before runs with the configuration that it knows.
    if (-not (Test-Path -LiteralPath $configBefore)) { return }
    Move-Item -Force -LiteralPath $configBefore -Destination $configFile
    Restart-Service -Name 'ScopeAgent' -ErrorAction SilentlyContinue
}

if (-not (Test-Administrator)) { Stop-WithMessage 'run this as administrator' }
$about = Get-Content -Raw -Encoding UTF8 (Join-Path $bundle 'BUNDLE.json') | ConvertFrom-Json
$interpreter = Find-Python $about.python
# Windows PowerShell 5.1 loses double quotes in arguments of programs: there are none.
$version = & $interpreter -c 'import sys; print(*sys.version_info[:2], sep=chr(46))'
if ("$version".Trim() -ne $about.python) { Stop-WithMessage "this bundle is for Python $($about.python), $interpreter is $version" }
$platform = & $interpreter -c 'import sysconfig; print(sysconfig.get_platform())'
if ("$platform".Trim().Replace('-', '_') -ne $about.platform) {
    Stop-WithMessage "this bundle is for $($about.platform), $interpreter is $platform"
}
if ($interpreter -like "$env:SystemDrive\Users\*") {
    Stop-WithMessage "$interpreter belongs to one user, the service cannot start it: install Python for all users"
}

$dataNote = Join-Path $InstallDir 'data-dir.txt'
if (-not $DataDir) {
    $DataDir = Join-Path $env:ProgramData 'scope-agent'
    if (Test-Path -LiteralPath $dataNote) {
        $said = Get-Content -Raw -Encoding UTF8 -LiteralPath $dataNote
        $DataDir = "$said".Trim()
    }
}
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
        '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps', '--require-hashes', '--disable-pip-version-check',
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
    $service = Get-ItemProperty -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\ScopeAgent' -ErrorAction SilentlyContinue
    if (-not ($service -and $service.ImagePath.Contains($environment))) {
        Remove-Item -Recurse -Force -LiteralPath $environment -ErrorAction SilentlyContinue
        Restore-Config
    }
    Stop-WithMessage 'the new version is not installed'
}

# Two versions are kept: this one and the one before.
Get-ChildItem -Directory -Path $InstallDir | Sort-Object -Property CreationTime -Descending | Select-Object -Skip 2 |
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
